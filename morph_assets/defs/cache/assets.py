"""How full the caches are, over time."""

import dagster as dg

from morph_assets.defs.automation import requested_every_hour
from morph_assets.defs.failures import explained_failures
from morph_assets.defs.tables import table
from morph_assets.platform import Platform


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
