"""The states of a kernel: who may move it where, and what has to stand in the registry first."""

from dataclasses import replace

import psycopg
import pytest

from morph_assets.registry.aliases import move_alias
from morph_assets.registry.blueprints import find_release
from morph_assets.registry.builds import record_build
from morph_assets.registry.errors import (
    AccessRefusedError,
    GuardError,
    IllegalTransitionError,
    NotRegisteredError,
)
from morph_assets.registry.evaluations import (
    list_measurements,
    list_reports,
    record_report,
    start_evaluation,
)
from morph_assets.registry.events import events_about
from morph_assets.registry.kernels import (
    count_kernels_by_state,
    find_kernel,
    list_attestations,
    list_kernels,
    publish_kernel,
    quarantine_kernel,
    revoke_kernel,
)
from morph_assets.registry.removal import retire_kernel
from tests.support.registry import compiled, digest_of, report_on, state_of


def test_a_kernel_goes_from_compiled_to_published_and_each_step_is_told(tenant):
    kernel = tenant.published()
    found = find_kernel(tenant.registry("controller"), build_key=kernel.build_key)
    assert (found.state, found.names, found.tags) == ("PUBLISHED", ["ffn_gelu"], ["fast", "mlp"])
    assert (found.device, found.torch, found.speed_ratio, found.latency_us) == ("cpu", "2.13.0", 1.8, 52.0)
    told = [event.type for event in events_about(tenant.registry("auditor"), f"kernel/{kernel.digest}")]
    assert told == ["kernel.compiled", "kernel.evaluation_started", "kernel.validated", "kernel.published"]
    assert [a.kind for a in list_attestations(tenant.registry("publisher"), kernel.digest)] == [
        "provenance",
        "verification",
    ]
    assert find_release(tenant.registry("controller"), "ffn_gelu").state == "PUBLISHED"


@pytest.mark.parametrize("role", ["platform", "compiler", "publisher", "trainer", "curator", "admin"])
def test_only_the_evaluator_validates(tenant, role):
    kernel = tenant.built()
    start_evaluation(tenant.registry("evaluator"), kernel.digest)
    with pytest.raises(AccessRefusedError):
        record_report(tenant.registry(role), report_on(kernel.digest))
    assert state_of(tenant, kernel) == "VALIDATING"


@pytest.mark.parametrize("role", ["platform", "compiler", "evaluator", "trainer", "controller", "auditor"])
def test_only_the_publisher_publishes(tenant, role):
    kernel = tenant.evaluated()
    with pytest.raises(AccessRefusedError):
        publish_kernel(tenant.registry(role), kernel.digest)
    assert state_of(tenant, kernel) == "VALIDATED"


def test_a_compiled_kernel_is_neither_validated_nor_published_without_evaluation(tenant):
    kernel = tenant.built()
    with pytest.raises(IllegalTransitionError):
        record_report(tenant.registry("evaluator"), report_on(kernel.digest))
    with pytest.raises(IllegalTransitionError):
        publish_kernel(tenant.registry("publisher"), kernel.digest)
    assert state_of(tenant, kernel) == "COMPILED"


def test_a_rejected_kernel_can_never_be_published(tenant):
    kernel = tenant.evaluated(verdict="fail")
    assert state_of(tenant, kernel) == "REJECTED"
    with pytest.raises(IllegalTransitionError):
        publish_kernel(tenant.registry("publisher"), kernel.digest)
    with pytest.raises(IllegalTransitionError):
        start_evaluation(tenant.registry("evaluator"), kernel.digest)
    with pytest.raises(IllegalTransitionError):
        record_report(tenant.registry("evaluator"), report_on(kernel.digest))
    with pytest.raises(IllegalTransitionError):
        quarantine_kernel(tenant.registry("curator"), kernel.digest, reason="a detour")
    assert state_of(tenant, kernel) == "REJECTED"
    (report,) = list_reports(tenant.registry("auditor"), kernel.digest)
    assert report.verdict == "fail"


def test_a_passing_report_without_its_attestation_validates_nothing(tenant):
    kernel = tenant.built()
    start_evaluation(tenant.registry("evaluator"), kernel.digest)
    with pytest.raises(GuardError):
        record_report(tenant.registry("evaluator"), report_on(kernel.digest, attestation=None))
    assert list_reports(tenant.registry("auditor"), kernel.digest) == []


def test_an_evaluation_that_broke_can_be_repeated(tenant):
    kernel = tenant.built()
    evaluator = tenant.registry("evaluator")
    start_evaluation(evaluator, kernel.digest)
    assert record_report(evaluator, report_on(kernel.digest, "error")) == "COMPILED"
    start_evaluation(evaluator, kernel.digest)
    assert record_report(evaluator, report_on(kernel.digest)) == "VALIDATED"


def test_a_report_recorded_twice_is_one_report(tenant):
    kernel = tenant.built()
    evaluator = tenant.registry("evaluator")
    start_evaluation(evaluator, kernel.digest)
    report = report_on(kernel.digest)
    assert [record_report(evaluator, report) for _ in range(2)] == ["VALIDATED", "VALIDATED"]
    (kept,) = list_reports(evaluator, kernel.digest)
    assert {m.metric: m.value for m in list_measurements(evaluator, kept.report_id)} == {
        "speed_ratio": 1.8,
        "latency_us": 52.0,
    }


def test_a_published_kernel_earns_another_runtime_without_a_rebuild(tenant):
    kernel = tenant.published()
    later = report_on(kernel.digest, torch="2.15.0", attestation=b"verification under 2.15")
    assert record_report(tenant.registry("evaluator"), later) == "PUBLISHED"
    assert len(list_attestations(tenant.registry("publisher"), kernel.digest)) == 3
    told = events_about(tenant.registry("auditor"), f"kernel/{kernel.digest}")
    assert told[-1].facts["runtime"]["torch"] == "2.15.0"


def test_a_quarantined_kernel_needs_new_evidence(tenant):
    kernel = tenant.published()
    quarantine_kernel(tenant.registry("platform"), kernel.digest, reason="digest_mismatch")
    with pytest.raises(IllegalTransitionError):
        publish_kernel(tenant.registry("publisher"), kernel.digest)
    evaluator = tenant.registry("evaluator")
    start_evaluation(evaluator, kernel.digest)
    with psycopg.connect(tenant.admin_url) as owner, pytest.raises(psycopg.Error) as refused:
        owner.execute("UPDATE morph.kernel SET state = 'VALIDATED' WHERE tenant = %s", (tenant.name,))
    assert refused.value.sqlstate == "MO003"
    record_report(evaluator, report_on(kernel.digest, attestation=b"verified again"))
    publish_kernel(tenant.registry("publisher"), kernel.digest)
    assert state_of(tenant, kernel) == "PUBLISHED"


def test_a_revoked_kernel_never_comes_back(tenant):
    kernel = tenant.published()
    revoke_kernel(tenant.registry("publisher"), kernel.digest, reason="bad gradients in production")
    for attempt in (
        lambda: publish_kernel(tenant.registry("publisher"), kernel.digest),
        lambda: start_evaluation(tenant.registry("evaluator"), kernel.digest),
        lambda: quarantine_kernel(tenant.registry("curator"), kernel.digest, reason="x"),
    ):
        with pytest.raises(IllegalTransitionError):
            attempt()
    assert (
        find_kernel(tenant.registry("controller"), digest=kernel.digest).state_reason == "bad gradients in production"
    )


def test_the_last_kernel_behind_an_alias_cannot_be_retired(tenant):
    kernel = tenant.published()
    move_alias(tenant.registry("publisher"), "ffn_gelu", "production", 1, expected_row_version=None)
    with pytest.raises(GuardError, match="unreferenced"):
        retire_kernel(tenant.registry("curator"), kernel.digest, reason="old toolchain")
    tenant.published("a newer kernel")
    retire_kernel(tenant.registry("curator"), kernel.digest, reason="old toolchain")
    assert state_of(tenant, kernel) == "RETIRED"


def test_a_retired_kernel_stays_retired_and_its_build_key_may_be_built_anew(tenant):
    kernel = tenant.evaluated(verdict="fail")
    retire_kernel(tenant.registry("curator"), kernel.digest, reason="rejected")
    assert find_kernel(tenant.registry("compiler"), build_key=kernel.build_key) is None
    with pytest.raises(IllegalTransitionError):
        tenant.built()
    other = replace(compiled(kernel.blueprint_digest), digest=digest_of("other bits"))
    assert record_build(tenant.registry("compiler"), other).state == "COMPILED"
    assert state_of(tenant, kernel) == "RETIRED"


STATES = ("COMPILED", "VALIDATING", "VALIDATED", "REJECTED", "PUBLISHED", "QUARANTINED", "REVOKED", "RETIRED", "PURGED")
ALLOWED = {
    "COMPILED": {"VALIDATING", "QUARANTINED", "REVOKED", "RETIRED"},
    "VALIDATING": {"COMPILED", "VALIDATED", "REJECTED", "QUARANTINED", "REVOKED"},
    "VALIDATED": {"PUBLISHED", "QUARANTINED", "REVOKED", "RETIRED"},
    "REJECTED": {"RETIRED"},
    "PUBLISHED": {"QUARANTINED", "REVOKED", "RETIRED"},
    "QUARANTINED": {"VALIDATING", "REVOKED", "RETIRED"},
    "REVOKED": {"RETIRED"},
    "RETIRED": {"COMPILED", "VALIDATED", "REJECTED", "QUARANTINED", "REVOKED", "PURGED"},
    "PURGED": {"COMPILED"},
}


@pytest.mark.parametrize("state", STATES)
def test_from_each_state_only_the_named_ones_are_reached_even_by_the_owner(tenant, state):
    tenant.built()
    refused = set()
    with psycopg.connect(tenant.admin_url) as owner:
        owner.execute("SET LOCAL session_replication_role = replica")
        owner.execute("UPDATE morph.kernel SET state = %s WHERE tenant = %s", (state, tenant.name))
        owner.execute("SET LOCAL session_replication_role = origin")
        for target in STATES:
            try:
                with owner.transaction(force_rollback=True):
                    owner.execute("UPDATE morph.kernel SET state = %s WHERE tenant = %s", (target, tenant.name))
            except psycopg.Error as error:
                # MO003: the transition exists, and its guard asks for evidence that this kernel does not have.
                if error.sqlstate != "MO003":
                    refused.add((target, error.sqlstate))
        owner.rollback()
    assert refused == {(target, "MO002") for target in STATES if target not in ALLOWED[state] | {state}}


def test_publishing_twice_tells_of_it_once(tenant):
    kernel = tenant.published()
    publish_kernel(tenant.registry("publisher"), kernel.digest)
    told = [event.type for event in events_about(tenant.registry("auditor"), f"kernel/{kernel.digest}")]
    assert told.count("kernel.published") == 1


def test_a_kernel_that_does_not_exist_is_not_published(tenant):
    with pytest.raises(NotRegisteredError):
        publish_kernel(tenant.registry("publisher"), digest_of("nobody"))


def test_a_blueprint_under_a_second_name_is_published_with_its_kernel(tenant):
    tenant.published()
    tenant.submitted("another_name")
    assert find_release(tenant.registry("controller"), "another_name").state == "PUBLISHED"


def test_kernels_are_listed_by_blueprint_and_state(tenant):
    plain = tenant.published("plain")
    other = tenant.built("other", name="other", blueprint="other")
    rejected = tenant.evaluated("rejected", verdict="fail")

    def listed(**wanted):
        return {kernel.digest for kernel in list_kernels(tenant.registry("controller"), **wanted)}

    assert listed() == {plain.digest, other.digest, rejected.digest}
    assert listed(states=["REJECTED", "COMPILED"]) == {rejected.digest, other.digest}
    assert listed(blueprint_digest=plain.blueprint_digest) == {plain.digest, rejected.digest}
    assert listed(blueprint_digest=plain.blueprint_digest, states=["PUBLISHED"]) == {plain.digest}
    assert count_kernels_by_state(tenant.registry("controller")) == {"PUBLISHED": 1, "COMPILED": 1, "REJECTED": 1}
