"""Jobs on stored and cached kernels, to start by hand or by a sensor."""

import dagster as dg

from morph_assets.defs.cache.assets import cache_eviction
from morph_assets.defs.failures import explained_failures
from morph_assets.defs.tables import table
from morph_assets.platform import Platform
from morph_kernels.identity import KernelDigest


class ScrubConfig(dg.Config):
    """Which kernels to read back: the next `limit` after a digest, in the order of digests."""

    after: str = ""
    limit: int = 50


@dg.op
def scrub(context: dg.OpExecutionContext, config: ScrubConfig, platform: dg.ResourceParam[Platform]) -> None:
    """Read kernels back from every tier; what is damaged is mended from a whole copy, or given up to be rebuilt."""
    with explained_failures():
        report = platform.scrub_artifacts(
            after=KernelDigest(config.after) if config.after else None, limit=config.limit
        )
    context.add_output_metadata(
        {
            "checked": report.checked,
            "damaged_count": len(report.damaged),
            "damaged": table(
                ("tier", "kernel", "reason", "done"), [(d.tier, d.digest, d.reason, d.action) for d in report.damaged]
            ),
        }
    )
    context.log.info("%d checked, %d damaged", report.checked, len(report.damaged))


evict_cache = dg.define_asset_job(
    "evict_cache",
    selection=dg.AssetSelection.assets(cache_eviction),
    description="Brings a cache within its budget.",
)


@dg.job(description="Reads stored and cached kernels back, and mends what is damaged.")
def scrub_artifacts() -> None:
    """Run one scrub."""
    scrub()
