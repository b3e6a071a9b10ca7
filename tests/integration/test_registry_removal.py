"""How kernels go: tombstones, the way back, the point of no return, what is left; refusals over raw connections."""

from dataclasses import replace

import psycopg
import pytest

from morph_assets.registry.builds import record_build
from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import (
    GuardError,
    IllegalTransitionError,
)
from morph_assets.registry.evaluations import list_reports, record_report, start_evaluation
from morph_assets.registry.events import events_about
from morph_assets.registry.kernels import (
    kernel_subject,
    list_attestations,
    publish_kernel,
    quarantine_kernel,
    revoke_kernel,
)
from morph_assets.registry.lineage import trace_lineage
from morph_assets.registry.pins import pin
from morph_assets.registry.removal import (
    begin_purge,
    find_tombstone,
    finish_purge,
    list_doomed,
    list_tombstones,
    restore_kernel,
)
from tests.support.races import race
from tests.support.registry import compiled, digest_of, report_on, state_of
from tests.support.removals import PROOF, agrees, commit_with, purge, retire, used


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("COMPILED", "COMPILED"),
        ("VALIDATED", "VALIDATED"),
        ("PUBLISHED", "VALIDATED"),
        ("REJECTED", "REJECTED"),
        ("QUARANTINED", "QUARANTINED"),
        ("REVOKED", "REVOKED"),
    ],
)
def test_a_retired_kernel_comes_back_as_what_it_was_but_never_into_service(tenant, before, after):
    kernel = {"COMPILED": tenant.built, "VALIDATED": tenant.evaluated}.get(before, tenant.published)()
    curator = tenant.registry("curator")
    if before == "REJECTED":
        kernel = tenant.evaluated("wrong", verdict="fail")
    elif before == "QUARANTINED":
        quarantine_kernel(curator, kernel.digest, reason="odd")
    elif before == "REVOKED":
        revoke_kernel(curator, kernel.digest, reason="wrong")
    retire(tenant, kernel, policy="", grace_s=3600)
    stone = find_tombstone(curator, kernel.digest)
    assert (stone.restores_to, stone.reason, stone.is_due) == (after, "unused for 90 days", False)

    assert restore_kernel(curator, kernel.digest, reason="wanted after all") == after
    assert state_of(tenant, kernel) == after
    assert find_tombstone(curator, kernel.digest) is None
    assert events_about(curator, f"kernel/{kernel.digest}")[-1].type == "kernel.restored"
    assert agrees(tenant)
    if after == "VALIDATED":
        publish_kernel(tenant.registry("publisher"), kernel.digest)


def test_after_the_grace_nothing_comes_back_and_before_it_nothing_goes(tenant):
    early, late = tenant.evaluated("early"), tenant.evaluated("late")
    curator = tenant.registry("curator")
    retire(tenant, early, grace_s=3600)
    retire(tenant, late, grace_s=0)
    with pytest.raises(GuardError, match="may come back until"):
        begin_purge(curator, early.digest)
    with pytest.raises(GuardError, match="restored does not hold"):
        restore_kernel(curator, late.digest, reason="too late")
    assert [stone.is_due for stone in list_tombstones(curator)] == [True, False]


def test_a_purge_takes_rows_and_quota_and_leaves_the_name_the_builds_and_the_proof(tenant):
    before = used(tenant) if tenant.url("controller") else {}
    kernel = tenant.published()
    alone = used(tenant)
    other = tenant.published("other")
    curator = tenant.registry("curator")
    retire(tenant, kernel, grace_s=0)
    seq = begin_purge(curator, kernel.digest)
    assert begin_purge(curator, kernel.digest) == seq
    assert {(o.kind, o.digest) for o in list_doomed(curator, kernel.digest)} == {("bundle", kernel.bundle_digest)}
    with pytest.raises(GuardError, match="restored does not hold"):
        restore_kernel(curator, kernel.digest, reason="too late")
    for _ in range(2):
        finish_purge(curator, kernel.digest, **PROOF)

    stone = find_tombstone(curator, kernel.digest)
    assert (stone.purge_seq, stone.proof_digest, stone.proof_key) == (seq, *PROOF.values())
    assert state_of(tenant, kernel) == "PURGED"
    assert list_reports(curator, kernel.digest) == []
    assert list_attestations(curator, kernel.digest) == []
    assert list_doomed(curator, kernel.digest) == []
    after = used(tenant)
    assert (before["kernels"], alone["kernels"], after["kernels"]) == (0, 1, 1)
    assert after["blob_bytes"] == alone["blob_bytes"] == 220_000
    assert after["builds_per_day"] == 2
    assert state_of(tenant, other) == "PUBLISHED"
    assert agrees(tenant)


def test_the_lineage_of_what_is_gone_is_known_as_of_then(tenant):
    kernel = tenant.evaluated()
    retire(tenant, kernel, grace_s=0)
    purge(tenant, kernel)
    reader = tenant.registry("controller")
    stone = find_tombstone(tenant.registry("curator"), kernel.digest)

    assert trace_lineage(reader, f"kernel/{kernel.digest}", direction="up") == []
    (then,) = trace_lineage(reader, f"kernel/{kernel.digest}", direction="up", as_of=stone.purged_seq - 1)
    assert (then.relation, then.target) == ("compiled_from", f"blueprint/{kernel.blueprint_digest}")


def test_a_bundle_or_report_that_something_else_needs_stays(tenant):
    kernel, other = tenant.evaluated("one"), tenant.evaluated("two")
    shared = compiled(kernel.blueprint_digest, "three")
    third = record_build(
        tenant.registry("compiler"),
        replace(shared, bundle_digest=kernel.bundle_digest, bundle_key=kernel.bundle_key),
    )
    retire(tenant, kernel, grace_s=0)
    begin_purge(tenant.registry("curator"), kernel.digest)
    assert list_doomed(tenant.registry("curator"), kernel.digest) == []
    finish_purge(tenant.registry("curator"), kernel.digest, **PROOF)
    assert used(tenant)["blob_bytes"] == 2 * 220_000
    retire(tenant, third, grace_s=0)
    begin_purge(tenant.registry("curator"), third.digest)
    assert [o.kind for o in list_doomed(tenant.registry("curator"), third.digest)] == ["bundle"]
    assert list_reports(tenant.registry("curator"), other.digest)


def test_the_same_bits_built_again_are_the_same_kernel_anew(tenant):
    kernel = tenant.published()
    retire(tenant, kernel, grace_s=0)
    with pytest.raises(IllegalTransitionError):
        tenant.built()  # within its tombstone
    purge(tenant, kernel)
    changed = compiled(kernel.blueprint_digest, bundle_digest=digest_of("packed anew"), provenance=b"anew")
    assert record_build(tenant.registry("compiler"), changed).state == "COMPILED"
    assert find_tombstone(tenant.registry("curator"), kernel.digest) is None
    assert used(tenant)["kernels"] == 1
    evaluator = tenant.registry("evaluator")
    start_evaluation(evaluator, kernel.digest)
    record_report(evaluator, report_on(kernel.digest, attestation=b"verified anew"))
    publish_kernel(tenant.registry("publisher"), kernel.digest)
    assert len(trace_lineage(evaluator, f"kernel/{kernel.digest}", direction="up")) == 1
    assert agrees(tenant)


@pytest.mark.parametrize("spoiled", ["REJECTED", "REVOKED"])
def test_what_was_found_wrong_stays_gone_though_its_bits_are_built_again(tenant, spoiled):
    kernel = tenant.evaluated(verdict="fail" if spoiled == "REJECTED" else "pass")
    if spoiled == "REVOKED":
        revoke_kernel(tenant.registry("curator"), kernel.digest, reason="wrong")
    retire(tenant, kernel, grace_s=0)
    purge(tenant, kernel)
    with pytest.raises(GuardError, match="may_be_built_again"):
        tenant.built()
    assert state_of(tenant, kernel) == "PURGED"


@pytest.mark.parametrize("spoil", [quarantine_kernel, revoke_kernel])
def test_what_was_retired_comes_back_by_its_tombstone_alone(tenant, spoil):
    kernel, curator = tenant.published(), tenant.registry("curator")
    spoil(curator, kernel.digest, reason="odd")
    retire(tenant, kernel)
    with pytest.raises(IllegalTransitionError):
        spoil(curator, kernel.digest, reason="odd")
    assert state_of(tenant, kernel) == "RETIRED"


def test_another_kernel_built_in_its_place_bars_the_way_back(tenant):
    kernel = tenant.evaluated()
    retire(tenant, kernel)
    other = replace(compiled(kernel.blueprint_digest), digest=digest_of("other bits"))
    record_build(tenant.registry("compiler"), other)
    with pytest.raises(GuardError, match="in the place of"):
        restore_kernel(tenant.registry("curator"), kernel.digest, reason="x")


def test_a_pin_or_a_checkpoint_within_the_grace_keeps_a_kernel_from_its_purge(tenant):
    pinned, saved = tenant.evaluated("pinned"), tenant.evaluated("saved")
    curator = tenant.registry("curator")
    for kernel in (pinned, saved):
        retire(tenant, kernel, grace_s=0)
    pin(curator, kernel_subject(pinned.digest), reason="wait")
    commit_with(tenant, saved)
    for kernel, why in ((pinned, "pinned by"), (saved, "checkpoint .* needs it")):
        with pytest.raises(GuardError, match=why):
            begin_purge(curator, kernel.digest)


def test_nothing_begins_to_need_a_kernel_whose_purge_has_begun(tenant):
    kernel = tenant.evaluated()
    retire(tenant, kernel, grace_s=0)
    begin_purge(tenant.registry("curator"), kernel.digest)
    with pytest.raises(GuardError, match="being removed"):
        pin(tenant.registry("curator"), kernel_subject(kernel.digest), reason="x")
    with pytest.raises(psycopg.Error, match="being removed") as refused:
        commit_with(tenant, kernel)
    assert refused.value.sqlstate == "MO003"


@pytest.mark.parametrize("number", range(6))
def test_of_a_checkpoint_and_a_purge_at_once_one_wins(tenant, number):
    kernel = tenant.evaluated()
    retire(tenant, kernel, grace_s=0)
    tenant.url("trainer")
    with Registry.open(tenant.url("curator")) as curator:

        def commit():
            try:
                commit_with(tenant, kernel, run=f"run-{number}")
            except psycopg.Error as error:
                return error.sqlstate
            return None

        refused_with, begun = race(commit, lambda: begin_purge(curator, kernel.digest))
    assert refused_with == (None if isinstance(begun, GuardError) else "MO003")
