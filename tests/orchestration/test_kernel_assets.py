"""The way of a kernel, asset by asset, on a real platform."""

import dagster as dg
import pytest

from morph_assets.registry import kernels
from morph_assets.registry.blueprints import list_releases
from morph_kernels.blueprint import library

SHIPPED = {blueprint.name: blueprint for blueprint in library()}


@pytest.fixture
def compiled_gelu(made_platform, orchestra):
    """A platform on which ffn_gelu is compiled, and its name a partition key."""
    _, record = made_platform.compiled("ffn_gelu")
    orchestra.register("ffn_gelu")
    return record


def reason(result: dg.ExecuteInProcessResult) -> str:
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    return str(failure.step_failure_data.user_failure_data.description)


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
    assert "morph blueprint submit" in reason(result)
    assert not [event for event in result.all_events if event.is_step_up_for_retry]


def test_a_compiled_kernel_is_found_and_not_built_again(orchestra, compiled_gelu):
    result = orchestra.materialize("compiled_kernel", partition="ffn_gelu")

    assert result.success
    metadata = orchestra.metadata(result, "compiled_kernel")
    assert metadata["digest"] == compiled_gelu.digest
    assert metadata["was_built_now"] is False
    assert metadata["build_s"] == pytest.approx(12.5)
    assert compiled_gelu.build_key in metadata["kernel"]
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
    assert "COMPILED" in reason(result)
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
