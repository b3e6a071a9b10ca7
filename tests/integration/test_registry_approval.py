"""Speculative kernels: published only after a curator's yes to this very evaluation."""

import psycopg
import pytest

from morph_assets.registry.approvals import approve_kernel, decline_kernel
from morph_assets.registry.builds import record_build
from morph_assets.registry.errors import (
    AccessRefusedError,
    GuardError,
    IllegalTransitionError,
    InvalidRecordError,
    NotRegisteredError,
)
from morph_assets.registry.evaluations import record_report, start_evaluation
from morph_assets.registry.events import events_about
from morph_assets.registry.kernels import find_kernel, kernel_subject, publish_kernel, quarantine_kernel
from morph_assets.registry.replay.check import check_replay
from tests.support.registry import compiled, digest_of, report_on


def built(tenant, **how):
    release = tenant.submitted()
    return record_build(tenant.registry("compiler"), compiled(release.blueprint_digest, "bold", **how))


def judge(tenant, kernel, word=b"verified"):
    start_evaluation(tenant.registry("evaluator"), kernel.digest)
    record_report(tenant.registry("evaluator"), report_on(kernel.digest, attestation=word))
    return kernel


@pytest.fixture(params=[{"pipeline": "aggressive"}, {"speculative": True}], ids=["aggressive", "flagged"])
def speculative(tenant, request):
    return judge(tenant, built(tenant, **request.param))


def test_a_speculative_kernel_waits_for_a_curator(tenant, speculative):
    publisher, curator = tenant.registry("publisher"), tenant.registry("curator")
    with pytest.raises(GuardError, match=r"fit_for_service .*no curator has approved it"):
        publish_kernel(publisher, speculative.digest)
    decline_kernel(curator, speculative.digest, reason="try it longer")
    with pytest.raises(GuardError, match=r"declined by .*: try it longer"):
        publish_kernel(publisher, speculative.digest)
    approve_kernel(curator, speculative.digest, reason="ran a week on staging")
    publish_kernel(publisher, speculative.digest)
    assert find_kernel(curator, digest=speculative.digest).state == "PUBLISHED"
    told = [(event.type, event.actor) for event in events_about(curator, kernel_subject(speculative.digest))]
    assert told[-3:] == [
        ("kernel.declined", f"morph_{tenant.name}_curator"),
        ("kernel.approved", f"morph_{tenant.name}_curator"),
        ("kernel.published", f"morph_{tenant.name}_publisher"),
    ]
    assert check_replay(tenant.registry("auditor")).differences == ()


def test_a_word_on_an_earlier_evaluation_says_nothing_about_this_one(tenant, speculative):
    curator = tenant.registry("curator")
    approve_kernel(curator, speculative.digest, reason="fine")
    quarantine_kernel(curator, speculative.digest, reason="odd")
    judge(tenant, speculative, b"verified again")
    with pytest.raises(GuardError, match="no curator has approved it"):
        publish_kernel(tenant.registry("publisher"), speculative.digest)


def test_an_approval_is_no_evidence(tenant):
    kernel = built(tenant, speculative=True)
    with pytest.raises(IllegalTransitionError):
        approve_kernel(tenant.registry("curator"), kernel.digest, reason="I trust it")
    with pytest.raises(IllegalTransitionError):
        publish_kernel(tenant.registry("publisher"), kernel.digest)


def test_an_ordinary_kernel_waits_for_nobody(tenant):
    tenant.published()


@pytest.mark.parametrize("role", ["platform", "compiler", "evaluator", "publisher", "trainer", "auditor", "admin"])
def test_only_the_curator_decides(tenant, speculative, role):
    with pytest.raises(AccessRefusedError):
        approve_kernel(tenant.registry(role), speculative.digest, reason="x")


def test_a_decision_needs_a_reason_and_a_kernel(tenant, speculative):
    with pytest.raises(InvalidRecordError):
        approve_kernel(tenant.registry("curator"), speculative.digest, reason="")
    with pytest.raises(NotRegisteredError):
        approve_kernel(tenant.registry("curator"), digest_of("nobody"), reason="x")


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("UPDATE morph.kernel SET speculative = NOT speculative WHERE digest = %(kernel)s", "MO009"),
        ("UPDATE morph.approval SET approved = true WHERE kernel_digest = %(kernel)s", "MO009"),
        ("DELETE FROM morph.approval WHERE kernel_digest = %(kernel)s", "MO009"),
        ("UPDATE morph.kernel SET state = 'PUBLISHED' WHERE digest = %(kernel)s", "MO003"),
        (
            """INSERT INTO morph.approval (tenant, kernel_digest, seq, evaluation, approved, reason, decided_by)
               VALUES (%(tenant)s, %(kernel)s, 1, 1, true, 'x', 'eve')""",
            "MO007",
        ),
    ],
)
def test_the_superuser_too_forges_no_approval(tenant, statement, state):
    kernel = judge(tenant, built(tenant, speculative=True))
    decline_kernel(tenant.registry("curator"), kernel.digest, reason="no")
    tenant.built("another")  # a later event about something else
    with psycopg.connect(tenant.admin_url, autocommit=True) as superuser, pytest.raises(psycopg.Error) as refused:
        superuser.execute(statement, {"tenant": tenant.name, "kernel": kernel.digest})
    assert refused.value.sqlstate == state
