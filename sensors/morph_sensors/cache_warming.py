"""Watches for running jobs and new production releases whose kernels Redis does not hold."""

import dagster as dg

from morph_assets.defs.cache.jobs import WarmConfig, warm_cache
from morph_assets.platform import Platform
from morph_assets.usecases.plan_warming import format_warming, parse_warming


@dg.sensor(job=warm_cache, default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=30)
def cache_warming(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
    """Requests the warming of what is about to be asked for, each kernel once as long as it is needed."""
    plan = platform.plan_warming(parse_warming(context.cursor))
    config = dg.RunConfig({"warm": WarmConfig(kernels=list(plan.warm))})
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_config=config)] if plan.warm else [],
        skip_reason=None if plan.warm else "Redis holds what is needed",
        cursor=format_warming(plan.place),
    )
