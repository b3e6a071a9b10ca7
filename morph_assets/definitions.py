"""The composition root: everything that Dagster sees, put together once."""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from morph_assets.defs.audit.assets import audit_ledger, verify_audit_ledger, verify_audit_ledger_schedule
from morph_assets.defs.audit.jobs import anchor_log, anchor_log_schedule
from morph_assets.defs.automation import automation
from morph_assets.defs.blueprints.assets import blueprint
from morph_assets.defs.cache.assets import cache_eviction, cache_state, storage_tiers
from morph_assets.defs.cache.checks import stored_copies_are_whole
from morph_assets.defs.cache.jobs import (
    evict_cache,
    nightly_storage_tiers,
    nightly_storage_tiers_schedule,
    recall_kernels,
    scrub_artifacts,
    warm_cache,
)
from morph_assets.defs.checkpoints.assets import checkpoint
from morph_assets.defs.curation.assets import kernel_curation, usage_ledger
from morph_assets.defs.curation.jobs import nightly_curation, nightly_curation_schedule
from morph_assets.defs.kernels.assets import compiled_kernel, kernel_evaluation, published_kernel
from morph_assets.defs.kernels.jobs import publish_blueprint, relay_indexes
from morph_assets.defs.library.assets import kernel_library
from morph_assets.defs.operations.jobs import collect_dagster_history, collect_dagster_weekly
from morph_assets.defs.platform_resource import open_platform
from morph_sensors.artifact_integrity import artifact_integrity
from morph_sensors.blueprint_arrivals import blueprint_arrivals
from morph_sensors.build_requests import build_requests
from morph_sensors.cache_pressure import cache_pressure
from morph_sensors.cache_warming import cache_warming
from morph_sensors.checkpoint_commits import checkpoint_commits
from morph_sensors.index_relay import index_relay

# Dagster gives a beta parameter to its own copy of a sensor, and warns us of it at every load.
warnings.filterwarnings("ignore", category=dg.BetaWarning, message="Parameter `owners`")

_ASSETS = (
    blueprint,
    compiled_kernel,
    kernel_evaluation,
    published_kernel,
    checkpoint,
    kernel_library,
    cache_state,
    cache_eviction,
    storage_tiers,
    audit_ledger,
    kernel_curation,
    usage_ledger,
)
_CHECKS = (stored_copies_are_whole,)
_JOBS = (
    publish_blueprint,
    relay_indexes,
    evict_cache,
    warm_cache,
    recall_kernels,
    nightly_storage_tiers,
    scrub_artifacts,
    anchor_log,
    verify_audit_ledger,
    collect_dagster_history,
    nightly_curation,
)
_SCHEDULES = (
    anchor_log_schedule,
    verify_audit_ledger_schedule,
    collect_dagster_weekly,
    nightly_curation_schedule,
    nightly_storage_tiers_schedule,
)
_SENSORS = (
    automation,
    blueprint_arrivals,
    build_requests,
    checkpoint_commits,
    cache_pressure,
    cache_warming,
    artifact_integrity,
    index_relay,
)


def build_defs(*, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Return the definitions; a test gives its own platform as `resource_overrides={"platform": ...}`."""
    return dg.Definitions(
        assets=_ASSETS,
        asset_checks=_CHECKS,
        jobs=_JOBS,
        schedules=_SCHEDULES,
        sensors=_SENSORS,
        resources={"platform": open_platform, **(resource_overrides or {})},
        # Every other executor imports the code again for each step.
        executor=dg.in_process_executor,
    )


defs = build_defs()
