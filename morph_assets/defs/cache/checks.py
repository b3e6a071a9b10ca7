"""The scrub as an asset check: what it finds is its result, what it mends is told in the log."""

import dagster as dg

from morph_assets.defs.failures import explained_failures
from morph_assets.defs.tables import table
from morph_assets.platform import Platform
from morph_kernels.identity import KernelDigest

_MAX_DAMAGES = 200


class ScrubConfig(dg.Config):
    """Which kernels to read back: the next `limit` after a digest, in the order of digests; and how fast."""

    after: str = ""
    limit: int = 50
    bytes_per_s: int | None = None


@dg.asset_check(
    asset="cache_state",
    description="Each copy of the kernels read this time, in store, Redis and on this host's disk, is that kernel.",
)
def stored_copies_are_whole(config: ScrubConfig, platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
    """Read kernels back from every tier; what is damaged is mended from a whole copy, or given up to be rebuilt."""
    with explained_failures():
        report = platform.scrub_artifacts(
            after=KernelDigest(config.after) if config.after else None,
            limit=config.limit,
            bytes_per_s=config.bytes_per_s,
        )
    rows = [(found.tier, found.digest, found.reason, found.action) for found in report.damaged[:_MAX_DAMAGES]]
    return dg.AssetCheckResult(
        passed=not report.damaged,
        # What is mended already is for people to know; the rest is for them to act on.
        severity=dg.AssetCheckSeverity.WARN if report.is_mended else dg.AssetCheckSeverity.ERROR,
        metadata={
            "checked": report.checked,
            "read_bytes": report.read_bytes,
            "damaged_count": len(report.damaged),
            "damaged": table(("tier", "kernel", "reason", "done"), rows),
        },
    )
