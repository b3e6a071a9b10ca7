"""Jobs on stored and cached kernels, to start by hand or by a sensor."""

import dagster as dg

from morph_assets.defs.failures import explained_failures
from morph_assets.defs.tables import table
from morph_assets.platform import Platform
from morph_kernels.identity import KernelDigest


class EvictionConfig(dg.Config):
    """Which cache to bring within its budget, or within another."""

    tier: str = "disk"
    budget_bytes: int | None = None
    dry_run: bool = False


class ScrubConfig(dg.Config):
    """Which kernels to read back: the next `limit` after a digest, in the order of digests."""

    after: str = ""
    limit: int = 50


@dg.op
def evict(context: dg.OpExecutionContext, config: EvictionConfig, platform: dg.ResourceParam[Platform]) -> None:
    """Drop what is cheapest to lose until the tier fits its budget."""
    with explained_failures():
        report = platform.evict_cache(config.tier, budget_bytes=config.budget_bytes, dry_run=config.dry_run)
    context.add_output_metadata(
        {
            "freed_bytes": report.freed_bytes,
            "dropped": table(("kernel",), [(digest,) for digest in report.dropped]),
            "kept": table(("kernel", "because"), report.kept_because.items()),
        }
    )
    context.log.info("%s: %d dropped, %d bytes freed", report.tier, len(report.dropped), report.freed_bytes)


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


@dg.job(description="Brings a cache within its budget.")
def evict_cache() -> None:
    """Run one eviction."""
    evict()


@dg.job(description="Reads stored and cached kernels back, and mends what is damaged.")
def scrub_artifacts() -> None:
    """Run one scrub."""
    scrub()
