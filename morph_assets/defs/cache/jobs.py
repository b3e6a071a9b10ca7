"""Jobs on stored and cached kernels, to start by hand or by a sensor."""

import dagster as dg
from pydantic import Field

from morph_assets.defs.cache.assets import cache_eviction, storage_tiers
from morph_assets.defs.cache.checks import stored_copies_are_whole
from morph_assets.defs.failures import explained_failures
from morph_assets.defs.tables import table
from morph_assets.platform import Platform
from morph_kernels.identity import KernelDigest


class WarmConfig(dg.Config):
    """Which kernels to bring into Redis: those of refs, and those with these digests."""

    refs: list[str] = Field(default_factory=list)
    kernels: list[str] = Field(default_factory=list)


class RecallConfig(dg.Config):
    """Which cold kernels to bring back."""

    kernels: list[str] = Field(default_factory=list)


@dg.op
def recall(context: dg.OpExecutionContext, config: RecallConfig, platform: dg.ResourceParam[Platform]) -> None:
    """Bring cold kernels back to where loaders read."""
    with explained_failures():
        recalled = platform.recall_kernels([KernelDigest(digest) for digest in config.kernels])
    context.log.info("%d of %d kernels are in the store", len(recalled), len(config.kernels))


@dg.op
def warm(context: dg.OpExecutionContext, config: WarmConfig, platform: dg.ResourceParam[Platform]) -> None:
    """Bring kernels, and the indexes that name them, into Redis."""
    with explained_failures():
        warmed = platform.warm_cache(config.refs, digests=[KernelDigest(digest) for digest in config.kernels])
    rows = [(digest, "in Redis") for digest in warmed.warmed] + [(digest, "not taken") for digest in warmed.missed]
    context.add_output_metadata({"kernels": table(("kernel", "outcome"), rows)})
    context.log.info("%d kernels are in Redis, %d were not taken", len(warmed.warmed), len(warmed.missed))


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


@dg.job(description="Brings kernels into Redis before anybody asks for them.")
def warm_cache() -> None:
    """Run one warming."""
    warm()


@dg.job(description="Brings cold kernels back, because a loader missed them.")
def recall_kernels() -> None:
    """Run one recall."""
    recall()


nightly_storage_tiers = dg.define_asset_job(
    "nightly_storage_tiers",
    selection=dg.AssetSelection.assets(storage_tiers),
    description="Brings each kernel to the storage tier where it belongs.",
)
nightly_storage_tiers_schedule = dg.ScheduleDefinition(
    name="nightly_storage_tiers_schedule",
    job=nightly_storage_tiers,
    cron_schedule="45 3 * * *",
    execution_timezone="UTC",
    # Without a policy it moves nothing: safe to run from the first day.
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
