"""An eviction as the metadata of its asset, whoever carried it out."""

from typing import Any

import dagster as dg

from morph_assets.defs.tables import table
from morph_assets.usecases.evict_cache import EvictionReport

EVICTION_ASSET = "cache_eviction"
_MAX_SHOWN = 200
_SHORT = 16  # characters of a digest are enough to tell it apart


def eviction_metadata(report: EvictionReport) -> dict[str, Any]:
    """Return the counts, and a table that says of each kernel whether it went and why."""
    rows = [
        (
            kernel.digest[:_SHORT],
            report.tier,
            "evicted" if kernel.evicted else "kept",
            kernel.because,
            kernel.size_bytes,
        )
        for kernel in report.kernels[:_MAX_SHOWN]
    ]
    return {
        "tier": report.tier,
        "dry_run": report.dry_run,
        "budget_bytes": report.budget_bytes,
        "evicted_count": len(report.dropped),
        "kept_count": len(report.kept_because),
        "freed_bytes": report.freed_bytes,
        "kernels": table(("kernel", "tier", "decision", "because", "bytes"), rows),
    }


def report_eviction(instance: dg.DagsterInstance, report: EvictionReport) -> None:
    """Tell Dagster of an eviction that no run of its own made."""
    told = dg.AssetMaterialization(EVICTION_ASSET, metadata=eviction_metadata(report))
    instance.report_runless_asset_event(told)
