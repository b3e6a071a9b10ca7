"""Watches over stored and cached kernels: reads them back in rounds."""

import dagster as dg

from morph_assets.defs.cache.checks import ScrubConfig, stored_copies_are_whole
from morph_assets.defs.cache.jobs import scrub_artifacts
from morph_assets.defs.kernels.jobs import publish_blueprint
from morph_assets.defs.partitions import active_blueprints
from morph_assets.platform import Platform
from morph_assets.usecases.plan_scrub import format_place, parse_place

_A_BATCH = 50


@dg.sensor(
    jobs=[scrub_artifacts, publish_blueprint],
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=900,
)
def artifact_integrity(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
    """Requests a scrub of the next kernels, and the whole way anew for a blueprint whose kernel a scrub gave up."""
    plan = platform.plan_scrub(parse_place(context.cursor), limit=_A_BATCH)
    registered = active_blueprints.get_partition_keys(dynamic_partitions_store=context.instance)
    config = dg.RunConfig({stored_copies_are_whole.op.name: ScrubConfig(after=plan.after or "", limit=_A_BATCH)})
    requests = [dg.RunRequest(job_name=scrub_artifacts.name, run_config=config)] if plan.count else []
    requests += [
        dg.RunRequest(job_name=publish_blueprint.name, partition_key=name)
        for name in plan.rebuild
        if name in registered
    ]
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else "there is no kernel yet",
        cursor=format_place(plan.place),
    )
