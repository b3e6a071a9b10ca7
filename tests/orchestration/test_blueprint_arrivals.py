"""The sensor that watches for submitted blueprints, on a real registry and a real instance."""

import dagster as dg
import pytest

from morph_assets.defs.partitions import active_blueprints
from morph_kernels.blueprint import library
from morph_sensors.blueprint_arrivals import blueprint_arrivals

GELU, SWIGLU = (next(b for b in library() if b.name == name) for name in ("ffn_gelu", "swiglu_rmsnorm"))


@pytest.fixture
def tick(orchestra):
    """Run the sensor once, do what the daemon does with its result, and return it."""
    cursor: list[str | None] = [None]

    def once() -> dg.SensorResult:
        context = dg.build_sensor_context(
            instance=orchestra.instance, cursor=cursor[0], resources={"platform": orchestra.platform}
        )
        result = blueprint_arrivals(context)
        cursor[0] = result.cursor
        for request in result.dynamic_partitions_requests:
            assert isinstance(request, dg.AddDynamicPartitionsRequest | dg.DeleteDynamicPartitionsRequest)
            change = (
                orchestra.instance.add_dynamic_partitions
                if isinstance(request, dg.AddDynamicPartitionsRequest)
                else lambda name, keys: [orchestra.instance.delete_dynamic_partition(name, key) for key in keys]
            )
            change(request.partitions_def_name, list(request.partition_keys))
        for reported in result.asset_events:
            orchestra.instance.report_runless_asset_event(reported)
        return result

    return once


def test_nothing_submitted_says_so(tick):
    assert tick().skip_reason.skip_message == "nothing arrived"


def test_a_submitted_blueprint_becomes_a_partition_and_is_told_of_without_a_run(orchestra, tick):
    orchestra.platform.submit_blueprint(GELU)

    result = tick()

    assert result.run_requests in (None, [])
    assert result.skip_reason.skip_message == "ffn_gelu@1 arrived"
    assert orchestra.instance.get_dynamic_partitions(active_blueprints.name) == ["ffn_gelu"]
    event = orchestra.instance.get_latest_materialization_event(dg.AssetKey("blueprint"))
    assert event.asset_materialization.partition == "ffn_gelu"
    assert event.asset_materialization.tags["dagster/data_version"] == GELU.digest


def test_it_goes_on_where_it_stopped(orchestra, tick):
    orchestra.platform.submit_blueprint(GELU)
    tick()
    orchestra.platform.submit_blueprint(SWIGLU)

    assert tick().skip_reason.skip_message == "swiglu_rmsnorm@1 arrived"
    assert tick().skip_reason.skip_message == "nothing arrived"


def test_an_arrival_makes_automation_ask_for_the_whole_way(orchestra, tick):
    orchestra.requested()
    orchestra.platform.submit_blueprint(GELU)
    tick()

    requested = orchestra.requested()

    assert requested["compiled_kernel"] == {"ffn_gelu"}
    assert requested["published_kernel"] == {"ffn_gelu"}
    assert "blueprint" not in requested
