"""Pins: what they keep, who may set and take them, and races with what would remove it."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from morph_assets.registry.aliases import move_alias
from morph_assets.registry.blueprints import retire_release
from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import AccessRefusedError, GuardError, InvalidRecordError, NotRegisteredError
from morph_assets.registry.events import events_about
from morph_assets.registry.kernels import kernel_subject
from morph_assets.registry.pins import list_pins, pin, unpin
from morph_assets.registry.removal import retire_kernel
from tests.support.races import race
from tests.support.registry import digest_of


def retire(tenant, kernel):
    retire_kernel(tenant.registry("curator"), kernel.digest, reason="old")


def test_a_pinned_kernel_is_not_retired_until_it_is_unpinned(tenant):
    kernel, curator = tenant.published(), tenant.registry("curator")
    pin(tenant.registry("platform"), kernel_subject(kernel.digest), reason="paper in review")
    with pytest.raises(GuardError, match=r"unreferenced .*pinned by .*_platform: paper in review"):
        retire(tenant, kernel)
    assert unpin(curator, kernel_subject(kernel.digest), reason="published")
    assert not unpin(curator, kernel_subject(kernel.digest), reason="published")
    retire(tenant, kernel)
    told = [event.type for event in events_about(tenant.registry("auditor"), f"kernel/{kernel.digest}")]
    assert told[-3:] == ["kernel.pinned", "kernel.unpinned", "kernel.retired"]


def test_a_pin_holds_until_its_moment(tenant):
    kernel, curator = tenant.evaluated(), tenant.registry("curator")
    until = datetime.now(UTC) + timedelta(milliseconds=400)
    pin(curator, kernel_subject(kernel.digest), reason="for a moment", until=until)
    with pytest.raises(GuardError, match="pinned"):
        retire(tenant, kernel)
    tenant.connect("curator").execute("SELECT pg_sleep(greatest(0, extract(epoch FROM %s - now())))", (until,))
    assert [found.holds for found in list_pins(curator)] == [False]
    retire(tenant, kernel)


def test_pinning_anew_says_why_and_until_when_and_the_same_again_says_nothing(tenant):
    kernel, curator = tenant.built(), tenant.registry("curator")
    until = datetime.now(UTC) + timedelta(days=1)
    for _ in range(2):
        pin(curator, kernel_subject(kernel.digest), reason="one", until=until)
    pin(curator, kernel_subject(kernel.digest), reason="another")
    (found,) = list_pins(curator)
    assert (found.reason, found.until_at, found.pinned_by) == ("another", None, f"morph_{tenant.name}_curator")
    told = [e.facts for e in events_about(curator, f"kernel/{kernel.digest}") if e.type == "kernel.pinned"]
    assert [(facts["reason"], facts["row_version"]) for facts in told] == [("one", 1), ("another", 2)]
    assert told[0]["until_us"] == int(until.timestamp()) * 1_000_000 + until.microsecond


def test_a_pinned_release_is_kept_with_its_kernels_that_are_fit_for_use(tenant):
    served = tenant.published("served")
    spoiled = tenant.evaluated("spoiled", verdict="fail")
    pin(tenant.registry("curator"), "release/ffn_gelu@1", reason="audit")
    with pytest.raises(GuardError, match="unaliased"):
        retire_release(tenant.registry("curator"), "ffn_gelu", 1, reason="old")
    with pytest.raises(GuardError, match="release ffn_gelu@1 is pinned"):
        retire(tenant, served)
    retire(tenant, spoiled)
    told = events_about(tenant.registry("auditor"), "blueprint/ffn_gelu")
    assert told[-1].type == "release.pinned"


def test_a_release_behind_an_alias_is_kept_from_being_retired_as_before(tenant):
    tenant.published()
    move_alias(tenant.registry("publisher"), "ffn_gelu", "production", 1, expected_row_version=None)
    with pytest.raises(GuardError, match="unaliased"):
        retire_release(tenant.registry("curator"), "ffn_gelu", 1, reason="old")


@pytest.mark.parametrize(
    ("subject", "refusal"),
    [
        (f"kernel/{digest_of('nobody')}", NotRegisteredError),
        ("release/ffn_gelu@7", NotRegisteredError),
        ("release/ffn_gelu", NotRegisteredError),
        (f"checkpoint/{UUID(int=1)}", NotRegisteredError),
        ("checkpoint/one", InvalidRecordError),
        ("run/one", InvalidRecordError),
    ],
)
def test_what_is_not_there_is_not_pinned(tenant, subject, refusal):
    tenant.submitted()
    with pytest.raises(refusal):
        pin(tenant.registry("curator"), subject, reason="x")


def test_a_pin_needs_a_reason_and_a_moment_to_come(tenant):
    subject = kernel_subject(tenant.built().digest)
    with pytest.raises(InvalidRecordError):
        pin(tenant.registry("curator"), subject, reason="")
    with pytest.raises(InvalidRecordError):
        pin(tenant.registry("curator"), subject, reason="x", until=datetime.now(UTC) - timedelta(seconds=1))


def test_a_retired_release_is_not_pinned(tenant):
    tenant.submitted()
    retire_release(tenant.registry("curator"), "ffn_gelu", 1, reason="old")
    with pytest.raises(GuardError, match="retired"):
        pin(tenant.registry("curator"), "release/ffn_gelu@1", reason="x")


@pytest.mark.parametrize("role", ["compiler", "evaluator", "publisher", "trainer", "controller", "auditor"])
def test_only_platform_curator_and_admin_pin(tenant, role):
    subject = kernel_subject(tenant.built().digest)
    with pytest.raises(AccessRefusedError):
        pin(tenant.registry(role), subject, reason="x")


@pytest.mark.parametrize("role", ["platform", "compiler", "evaluator", "publisher", "trainer", "controller", "auditor"])
def test_only_curator_and_admin_unpin(tenant, role):
    with pytest.raises(AccessRefusedError):
        unpin(tenant.registry(role), kernel_subject(digest_of("x")), reason="x")


def test_the_pins_of_another_tenant_are_out_of_reach(tenant, other_tenant):
    subject = kernel_subject(other_tenant.built().digest)
    pin(other_tenant.registry("curator"), subject, reason="mine")
    with pytest.raises(NotRegisteredError):
        pin(tenant.registry("curator"), subject, reason="x")
    assert not unpin(tenant.registry("curator"), subject, reason="x")
    assert list_pins(tenant.registry("curator")) == []
    assert len(list_pins(other_tenant.registry("curator"))) == 1


@pytest.mark.parametrize("_", range(8))
def test_a_kernel_cannot_be_pinned_and_retired_at_once(tenant, _):  # a repetition, not a fixture
    kernel = tenant.evaluated()
    with Registry.open(tenant.url("curator")) as pinner, Registry.open(tenant.url("curator")) as retirer:
        race(
            lambda: pin(pinner, kernel_subject(kernel.digest), reason="race"),
            lambda: retire_kernel(retirer, kernel.digest, reason="race"),
        )
        told = [event.type for event in events_about(pinner, f"kernel/{kernel.digest}")]
    assert told[-2:] in (["kernel.validated", "kernel.pinned"], ["kernel.retired", "kernel.pinned"])


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM morph.pin WHERE tenant = %s",
        "UPDATE morph.pin SET until_at = now() WHERE tenant = %s",
    ],
)
def test_a_pin_does_not_change_without_its_event(tenant, statement):
    kernel = tenant.built()
    pin(tenant.registry("curator"), kernel_subject(kernel.digest), reason="x")
    with psycopg.connect(tenant.admin_url, autocommit=True) as superuser, pytest.raises(psycopg.Error) as refused:
        superuser.execute(statement, (tenant.name,))
    assert refused.value.sqlstate == "MO007"
