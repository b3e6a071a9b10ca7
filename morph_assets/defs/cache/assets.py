"""How full the caches are, over time, and what left them."""

from collections import Counter

import dagster as dg

from morph_assets.defs.automation import requested_every_hour
from morph_assets.defs.cache.evictions import EVICTION_ASSET, eviction_metadata
from morph_assets.defs.failures import explained_failures
from morph_assets.defs.tables import table
from morph_assets.platform import Platform

_MAX_SHOWN = 200


@dg.asset(
    automation_condition=requested_every_hour(),
    group_name="cache",
    kinds={"redis", "s3"},
    owners=["team:operations"],
    code_version="1",
)
def cache_state(platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult[None]:
    """What each tier of the kernel cache holds, against what it may hold."""
    with explained_failures():
        state = platform.cache_state()
    sizes = {f"{tier.tier}_bytes": tier.size_bytes for tier in state.tiers}
    entries = {f"{tier.tier}_entries": tier.entries for tier in state.tiers}
    rows = [
        (tier.tier, tier.entries, tier.size_bytes, tier.budget_bytes, "yes" if tier.available else "no answer")
        for tier in state.tiers
    ]
    return dg.MaterializeResult(
        metadata={
            **sizes,
            **entries,
            "over_budget": ", ".join(state.over_budget) or "none",
            "tiers": table(("tier", "kernels", "bytes", "budget", "available"), rows),
        }
    )


class EvictionConfig(dg.Config):
    """Which cache to bring within its budget, or within another."""

    tier: str = "disk"
    budget_bytes: int | None = None
    dry_run: bool = False


@dg.asset(
    name=EVICTION_ASSET,
    group_name="cache",
    kinds={"redis"},
    owners=["team:operations"],
    code_version="1",
)
def cache_eviction(config: EvictionConfig, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult[None]:
    """What the last eviction of a cache dropped, and why the rest stays; `morph cache evict` reports it here too."""
    with explained_failures():
        report = platform.evict_cache(config.tier, budget_bytes=config.budget_bytes, dry_run=config.dry_run)
    return dg.MaterializeResult(metadata=eviction_metadata(report))


class StorageConfig(dg.Config):
    """Whether to carry the plan out, or only to show it."""

    dry_run: bool = False


@dg.asset(
    group_name="cache",
    kinds={"s3"},
    owners=["team:operations"],
    code_version="1",
)
def storage_tiers(config: StorageConfig, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult[None]:
    """Where each kernel lies: hot, warm or cold, why, and what the last round moved."""
    with explained_failures():
        report = platform.tier_storage(dry_run=config.dry_run)
    tiers = Counter(tiered.tier for tiered in report.kernels)
    rows = [
        (t.kernel.digest[:16], ", ".join(t.kernel.names), t.tier, t.step, t.because, t.kernel.size_bytes)
        for t in report.kernels[:_MAX_SHOWN]
    ]
    return dg.MaterializeResult(
        metadata={
            **{f"{tier}_count": tiers[tier] for tier in ("hot", "warm", "cold", "dropped")},
            "dry_run": report.dry_run,
            "failed": table(("kernel", "because"), [(digest[:16], why) for digest, why in report.failed.items()]),
            "kernels": table(("kernel", "names", "tier", "step", "because", "bytes"), rows),
        }
    )
