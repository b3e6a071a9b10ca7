"""Evaluating: what passes is vouched for, what fails is kept out, what broke changes nothing."""

import pytest

from morph_assets.platform import Platform
from morph_assets.registry import kernels as registry_kernels
from morph_assets.registry.errors import IllegalTransitionError
from morph_assets.registry.evaluations import list_reports
from morph_assets.registry.held_lease import hold_lease
from morph_assets.usecases.evaluate_kernel import EvaluationBusyError, NotEvaluableError, evaluate_kernel
from morph_assets.usecases.fetch_bundle import ArtifactDamagedError
from morph_assets.usecases.publish_blueprint import KernelRejectedError
from morph_assets.usecases.publish_kernel import NotPublishableError
from morph_kernels.artifact.trust import Role, create_trust, key_path, revoke_key
from morph_kernels.compile.errors import SandboxError
from morph_kernels.compile.sandbox import Limits
from morph_kernels.store.keys import bundle_key, report_key
from tests.support.wrong_kernel import make_wrong_kernel

pytestmark = pytest.mark.slow


def reports(platform: Platform, digest):
    return list_reports(platform.connections.registry("platform"), digest)


@pytest.fixture
def rejected(made_platform):
    kernel = make_wrong_kernel(made_platform.build)
    made_platform.platform.submit_blueprint(kernel.blueprint)
    made_platform.register(kernel)
    return made_platform, kernel, made_platform.platform.evaluate_kernel("ffn_relu")


def test_the_whole_way_in_one_call_and_nothing_twice(made_platform):
    kernel, _ = made_platform.compiled()
    platform = made_platform.platform

    published = platform.publish(kernel.blueprint)
    again = platform.publish(kernel.blueprint)

    assert again == published
    assert len(reports(platform, published.digest)) == 1
    evaluation = platform.evaluate_kernel(published.digest)
    assert (evaluation.verdict, evaluation.evaluated, evaluation.reasons) == ("passed", False, ())
    assert 0 <= evaluation.risk < 1
    assert {"mlp", "op:linear"} <= set(evaluation.tags)
    store, tenant = platform.connections.store, made_platform.config.tenant
    assert store.size(report_key(tenant, evaluation.report_digest)) > 0
    module = made_platform.loader().load("ffn_gelu@production")
    assert module.digest == published.digest
    (row,) = platform.library_rows()
    assert row["worst_relative_error"] < 1e-3
    assert row["speed_ratio"] > 0
    assert 0 < row["covered_share"] <= 1


def test_a_wrong_kernel_is_rejected_its_report_kept_and_published_by_no_path(rejected):
    made, kernel, evaluation = rejected
    platform = made.platform

    assert (evaluation.verdict, evaluation.evaluated) == ("failed", True)
    assert any(reason.startswith("wrong_values") for reason in evaluation.reasons)
    assert platform.find_kernel(kernel.manifest.digest).state == "REJECTED"
    again = platform.evaluate_kernel("ffn_relu")
    assert not again.evaluated
    assert again.reasons == evaluation.reasons
    assert platform.connections.store.size(report_key(made.config.tenant, evaluation.report_digest)) > 0
    assert platform.counts().rejections["wrong_values"] == 1

    with pytest.raises(NotPublishableError, match="REJECTED"):
        made.platform.publish_kernel("ffn_relu")
    with pytest.raises(KernelRejectedError, match="wrong_values") as raised:
        made.platform.publish(kernel.blueprint)
    assert raised.value.evaluation.digest == kernel.manifest.digest
    for role in ("publisher", "compiler", "evaluator", "admin", "curator"):
        with pytest.raises(Exception, match=r"REJECTED|permission denied") as refused:
            registry_kernels.publish_kernel(made.platform.connections.registry(role), kernel.manifest.digest)
        assert isinstance(refused.value, IllegalTransitionError) == (role == "publisher")
    assert made.loader().load(kernel.blueprint).source == "eager"


def test_an_evaluation_that_breaks_leaves_the_kernel_to_another_try(made_platform):
    _, kernel = made_platform.compiled()
    platform = made_platform.platform

    with pytest.raises(SandboxError):
        evaluate_kernel(platform.connections, kernel.digest, limits=Limits(wall_s=0.2))

    assert platform.find_kernel(kernel.digest).state == "COMPILED"
    assert [report.verdict for report in reports(platform, kernel.digest)] == ["error"]


def test_bytes_that_nobody_trusted_vouches_for_are_not_even_tried(made_platform):
    _, kernel = made_platform.compiled()
    trust = made_platform.config.folders.home / "trust"
    compiler = next(key for key in create_trust(trust).keys_of(Role.COMPILER))
    revoke_key(trust, compiler.keyid)

    with pytest.raises(NotEvaluableError, match="key_revoked"):
        made_platform.platform.evaluate_kernel(kernel.digest)

    assert made_platform.platform.find_kernel(kernel.digest).state == "COMPILED"
    assert key_path(trust, Role.COMPILER).exists()


def test_damaged_bytes_are_not_tried(made_platform):
    _, kernel = made_platform.compiled()
    path = made_platform.objects / bundle_key(made_platform.config.tenant, kernel.digest)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-7])

    with pytest.raises(ArtifactDamagedError, match="morph cache scrub"):
        made_platform.platform.evaluate_kernel(kernel.digest)


def test_a_revoked_kernel_is_not_evaluated_and_a_second_evaluator_waits(made_platform):
    _, kernel = made_platform.compiled()
    connections = made_platform.platform.connections
    with (
        made_platform.other() as other,
        hold_lease(other.connections.registry("evaluator"), f"evaluation/{kernel.digest}"),
        pytest.raises(EvaluationBusyError),
    ):
        evaluate_kernel(connections, kernel.digest, wait_s=0.0)

    made_platform.platform.revoke_kernel(kernel.digest, "bad idea")

    with pytest.raises(NotEvaluableError, match="REVOKED"):
        made_platform.platform.evaluate_kernel(kernel.digest)


def test_a_quarantined_kernel_comes_back_by_a_new_evaluation(made_platform):
    _, published = made_platform.published()
    platform = made_platform.platform
    platform.quarantine_kernel(published.digest, "looks odd")

    evaluation = platform.evaluate_kernel(published.digest)
    platform.publish_kernel("ffn_gelu")

    assert evaluation.evaluated
    assert made_platform.loader("fresh").load("ffn_gelu").digest == published.digest
