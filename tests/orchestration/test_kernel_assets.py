"""The way of a kernel, asset by asset, on a real platform."""

import pytest

from morph_assets.defs.kernels.checks import SENTENCES
from morph_assets.registry import kernels
from morph_assets.registry.blueprints import list_releases
from morph_kernels.blueprint import library
from tests.support.orchestration import checks_of, failed_reason
from tests.support.wrong_kernel import make_wrong_kernel

pytestmark = pytest.mark.slow

WAY = ("blueprint", "compiled_kernel", "kernel_evaluation", "published_kernel")
SHIPPED = {blueprint.name: blueprint for blueprint in library()}


def test_materialising_a_shipped_blueprint_submits_it(orchestra):
    orchestra.register("ffn_gelu")

    result = orchestra.materialize("blueprint", partition="ffn_gelu")

    assert result.success
    (release,) = list_releases(orchestra.platform.connections.registry("platform"), name="ffn_gelu")
    assert release.blueprint_digest == SHIPPED["ffn_gelu"].digest
    (event,) = result.asset_materializations_for_node("blueprint")
    assert event.tags["dagster/data_version"] == SHIPPED["ffn_gelu"].digest
    metadata = orchestra.metadata(result, "blueprint")
    assert metadata["version"] == 1
    assert "| in | x | float32 |" in metadata["interface"]


def test_materialising_it_again_submits_nothing(orchestra):
    orchestra.register("ffn_gelu")

    for _ in range(2):
        assert orchestra.materialize("blueprint", partition="ffn_gelu").success

    assert len(list_releases(orchestra.platform.connections.registry("platform"), name="ffn_gelu")) == 1


@pytest.mark.parametrize("asset", ["blueprint", "compiled_kernel"])
def test_a_name_that_nobody_submitted_fails_with_what_to_do_and_is_not_tried_again(orchestra, asset):
    orchestra.register("unheard_of")

    result = orchestra.materialize(asset, partition="unheard_of")

    assert not result.success
    assert "morph blueprint submit" in failed_reason(result)
    assert not [event for event in result.all_events if event.is_step_up_for_retry]


@pytest.mark.parametrize("key", ["a|b", "A", "../x"])
def test_a_key_that_is_no_name_is_refused_though_somebody_registered_it(orchestra, key):
    orchestra.register(key)

    result = orchestra.materialize("compiled_kernel", partition=key)

    assert not result.success
    assert f"blueprint {key!r} is not allowed" in failed_reason(result)
    assert orchestra.platform.list_blueprints() == []


def test_a_compiled_kernel_is_found_and_not_built_again(orchestra, compiled_gelu):
    result = orchestra.materialize("compiled_kernel", partition="ffn_gelu")

    assert result.success
    metadata = orchestra.metadata(result, "compiled_kernel")
    assert metadata["digest"] == compiled_gelu.digest
    assert metadata["was_built_now"] is False
    assert metadata["build_s"] == pytest.approx(12.5)
    assert compiled_gelu.build_key[:16] in metadata["kernel"]
    (event,) = result.asset_materializations_for_node("compiled_kernel")
    assert event.tags["dagster/data_version"] == compiled_gelu.digest


@pytest.mark.usefixtures("compiled_gelu")
def test_the_build_is_counted_by_its_check(orchestra):
    result = orchestra.materialize("compiled_kernel", partition="ffn_gelu")

    (check,) = [c for c in result.get_asset_check_evaluations() if c.check_name == "kernel_was_built_once"]
    assert check.passed
    assert check.metadata["builds"].value == 1
    assert check.partition == "ffn_gelu"


def test_publishing_alone_what_was_not_evaluated_fails_with_the_registrys_reason(orchestra, compiled_gelu):
    result = orchestra.materialize("published_kernel", partition="ffn_gelu")

    assert not result.success
    assert "COMPILED" in failed_reason(result)
    assert (
        kernels.get_kernel(orchestra.platform.connections.registry("platform"), compiled_gelu.digest).state
        == "COMPILED"
    )


def test_a_server_that_is_away_is_asked_again_before_the_run_fails(made_platform, orchestra):
    orchestra.register("ffn_gelu")

    with made_platform.other(database_urls={"platform": "postgresql://nobody:x@127.0.0.1:9/morph"}) as away:
        result = orchestra.beside(away).materialize("blueprint", partition="ffn_gelu")

    assert not result.success
    assert len([event for event in result.all_events if event.is_step_up_for_retry]) == 2


@pytest.mark.usefixtures("compiled_gelu")
def test_the_whole_way_in_one_run(orchestra):
    result = orchestra.materialize(*WAY, partition="ffn_gelu")

    assert result.success
    checks = checks_of(result)
    assert set(checks) == {
        "kernel_is_signed",
        "kernel_was_built_once",
        "kernel_passed_evaluation",
        "published_kernel_is_loadable",
        *SENTENCES,
    }
    assert all(checks.values()), checks
    evaluation, published = (orchestra.metadata(result, name) for name in ("kernel_evaluation", "published_kernel"))
    assert evaluation["verdict"] == "passed"
    assert 0 < evaluation["worst_gradient_error"] < 1e-3
    assert evaluation["speed_ratio"] > 0
    assert "| worst_gradient_error |" in evaluation["measured"]
    assert published["digest"] == orchestra.platform.find_kernel("ffn_gelu@production").digest
    assert published["load_ms"] > 0
    (event,) = result.asset_materializations_for_node("published_kernel")
    assert event.tags["dagster/data_version"] == str(published["generation"])


@pytest.fixture
def rejected(made_platform, orchestra):
    """A platform with a kernel that computes something else than its blueprint says, evaluated."""
    kernel = make_wrong_kernel(made_platform.build)
    orchestra.platform.submit_blueprint(kernel.blueprint)
    made_platform.register(kernel)
    orchestra.register("ffn_relu")
    orchestra.requested()
    return orchestra.materialize(*WAY, partition="ffn_relu")


def test_a_rejected_kernel_keeps_its_report_and_nothing_after_it_is_made(orchestra, rejected):
    assert not rejected.success
    made = [event.asset_key.to_user_string() for event in rejected.get_asset_materialization_events()]
    assert made == ["blueprint", "compiled_kernel", "kernel_evaluation"]
    checks = checks_of(rejected)
    assert not checks["kernel_passed_evaluation"]
    assert not checks["outputs_match_eager"]
    assert checks["kernel_runs_to_its_end"]
    assert checks["kernel_is_signed"]
    assert "wrong_values" in orchestra.metadata(rejected, "kernel_evaluation")["reasons"]


def test_a_rejected_kernel_published_alone_fails_with_the_registrys_reason_and_no_retry(orchestra, rejected):
    assert not rejected.success

    alone = orchestra.materialize("published_kernel", partition="ffn_relu")

    assert not alone.success
    assert "REJECTED" in failed_reason(alone)
    assert not [event for event in alone.all_events if event.is_step_up_for_retry]
    assert orchestra.platform.find_kernel("ffn_relu").state == "REJECTED"


def test_automation_never_requests_what_was_rejected(orchestra, rejected):
    assert not rejected.success

    assert [orchestra.requested() for _ in range(3)] == [{}, {}, {}]
    # Nor a daemon that starts now and finds everything as it is.
    assert "published_kernel" not in orchestra.beside(orchestra.platform).requested()


def test_evaluating_it_again_by_hand_asks_for_no_publication(orchestra, rejected):
    assert not rejected.success

    again = orchestra.materialize("kernel_evaluation", partition="ffn_relu")

    assert not again.success
    assert orchestra.requested() == {}
