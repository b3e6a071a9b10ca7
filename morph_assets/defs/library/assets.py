"""The asset that shows all kernels together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from morph_assets.defs.automation import requested_when_dependencies_settled
from morph_assets.defs.failures import explained_failures
from morph_assets.defs.kernels.assets import LOAD_MS, published_kernel
from morph_assets.defs.library.checks import LIBRARY_CHECKS, judge_library
from morph_assets.defs.materialized import Materialized
from morph_assets.defs.partitions import MAX_ACTIVE_BLUEPRINTS
from morph_assets.defs.tables import rounded, table
from morph_assets.platform import Platform
from morph_kernels.canonical import sha256_hex

_SHOWN = ("name", "state", "device", "isa", "speed_ratio", "worst_gradient_error", "size_bytes", "build_cpu_s")
_MAX_SHOWN = 200

Row = Mapping[str, Any]


@dg.asset(
    deps=[published_kernel],
    automation_condition=requested_when_dependencies_settled(),
    check_specs=LIBRARY_CHECKS,
    group_name="library",
    kinds={"pandas", "great_expectations"},
    owners=["team:kernels"],
    code_version="1",
)
def kernel_library(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> Materialized:
    """Every kernel in one frame, with what was measured of it, judged as a whole by Great Expectations."""
    import pandas as pd

    from morph_assets.evaluation.library_suite import check_library

    with explained_failures():
        rows = platform.library_rows()
    loads = _load_times(context.instance)
    frame = pd.DataFrame([{**row, LOAD_MS: loads.get(row["name"])} for row in rows])
    facts = sorted((row["kernel_digest"], row["state"]) for row in rows)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(sha256_hex(repr(facts).encode())),
        check_results=[*judge_library(check_library(frame))],
        metadata={
            "dagster/row_count": len(rows),
            "blueprints": len({row["blueprint_digest"] for row in rows}),
            **{f"{state.lower()}_count": count for state, count in Counter(row["state"] for row in rows).items()},
            **_numbers(rows),
            "kernels": table(_SHOWN, [[row[column] for column in _SHOWN] for row in rows[:_MAX_SHOWN]]),
        },
    )


def _numbers(rows: Sequence[Row]) -> dict[str, float]:
    """Return what is worth following over time, as far as it was measured."""
    from statistics import median

    ratios = [row["speed_ratio"] for row in rows if row["speed_ratio"] is not None]
    errors = [row["worst_gradient_error"] for row in rows if row["worst_gradient_error"] is not None]
    found = {
        "size_bytes": float(sum(row["size_bytes"] for row in rows)),
        "build_cpu_s": rounded(sum(row["build_cpu_s"] or 0.0 for row in rows)),
    }
    found |= {"median_speed_ratio": rounded(median(ratios))} if ratios else {}
    return found | ({"worst_gradient_error": rounded(max(errors))} if errors else {})


def _load_times(instance: dg.DagsterInstance) -> dict[str, float]:
    """Return how long each published kernel took to load when it was published."""
    published = instance.fetch_materializations(published_kernel.key, limit=MAX_ACTIVE_BLUEPRINTS)
    found: dict[str, float] = {}
    for record in published.records:  # newest first
        event = record.asset_materialization
        value = event.metadata.get(LOAD_MS) if event is not None else None
        if event is not None and event.partition is not None and isinstance(value, dg.FloatMetadataValue):
            found.setdefault(event.partition, value.value or 0.0)
    return found
