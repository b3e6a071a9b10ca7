"""Jobs on stored and cached kernels, to start by hand or by a sensor."""

import dagster as dg

from morph_assets.defs.cache.assets import cache_eviction
from morph_assets.defs.cache.checks import stored_copies_are_whole

evict_cache = dg.define_asset_job(
    "evict_cache",
    selection=dg.AssetSelection.assets(cache_eviction),
    description="Brings a cache within its budget.",
)
scrub_artifacts = dg.define_asset_job(
    "scrub_artifacts",
    selection=dg.AssetSelection.checks(stored_copies_are_whole),
    description="Reads stored and cached kernels back, and mends what is damaged.",
)
