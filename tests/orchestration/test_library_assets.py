"""The library and the caches as assets."""

import dagster as dg
import pytest

from morph_assets.defs.library.checks import EXPECTATIONS
from tests.support.orchestration import checks_of

pytestmark = pytest.mark.slow


def test_the_library_is_judged_as_a_whole(orchestra, made_platform):
    made_platform.published()
    orchestra.register("ffn_gelu")
    orchestra.instance.report_runless_asset_event(
        dg.AssetMaterialization("published_kernel", partition="ffn_gelu", metadata={"load_ms": 3.5})
    )

    result = orchestra.materialize("kernel_library")

    assert result.success
    checks = checks_of(result)
    assert tuple(checks) == EXPECTATIONS
    metadata = orchestra.metadata(result, "kernel_library")
    assert (metadata["dagster/row_count"], metadata["published_count"]) == (1, 1)
    assert metadata["size_bytes"] > 0
    assert "| ffn_gelu | PUBLISHED | cpu |" in metadata["kernels"]


def test_a_library_that_is_empty_says_so_and_stops_nothing(orchestra):
    result = orchestra.materialize("kernel_library")

    assert result.success
    assert checks_of(result)["library_is_not_empty"] is False


def test_it_is_asked_for_once_after_a_publication(orchestra):
    orchestra.register("ffn_gelu", "swiglu_rmsnorm")
    orchestra.requested()
    for name in ("ffn_gelu", "swiglu_rmsnorm"):
        orchestra.instance.report_runless_asset_event(dg.AssetMaterialization("published_kernel", partition=name))

    assert [orchestra.requested().get("kernel_library") for _ in range(3)] == [{None}, None, None]


def test_the_caches_are_shown_tier_by_tier(orchestra, made_platform):
    made_platform.published()

    result = orchestra.materialize("cache_state")

    assert result.success
    metadata = orchestra.metadata(result, "cache_state")
    assert (metadata["store_entries"], metadata["over_budget"]) == (1, "none")
    assert metadata["store_bytes"] > 0
    assert "| redis | " in metadata["tiers"]
