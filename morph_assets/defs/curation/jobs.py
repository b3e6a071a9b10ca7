"""The nightly round, to start by hand or by its schedule."""

import dagster as dg

from morph_assets.defs.curation.assets import kernel_curation

nightly_curation = dg.define_asset_job(
    "nightly_curation",
    selection=dg.AssetSelection.assets(kernel_curation),
    description="Retires what a policy takes, and removes for good what nobody brought back in time.",
)
nightly_curation_schedule = dg.ScheduleDefinition(
    name="nightly_curation_schedule",
    job=nightly_curation,
    cron_schedule="30 3 * * *",
    execution_timezone="UTC",
    # Without a policy it takes nothing: safe to run from the first day.
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
