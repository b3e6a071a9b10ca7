"""Watches how full the caches are."""

import dagster as dg

from morph_assets.defs.cache.assets import EvictionConfig, cache_eviction
from morph_assets.defs.cache.jobs import evict_cache
from morph_assets.platform import Platform
from morph_assets.usecases.plan_pressure import format_asked, parse_asked, plan_pressure

_STEP = cache_eviction.op.name


@dg.sensor(job=evict_cache, default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=60)
def cache_pressure(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
    """Tells Redis its bounds, which it then keeps by itself; requests an eviction for each cache over its budget."""
    platform.bound_redis()
    plan = plan_pressure(platform.cache_state(), asked_at_bytes=parse_asked(context.cursor))
    requests = [
        dg.RunRequest(run_config=dg.RunConfig({_STEP: EvictionConfig(tier=tier)}), tags={"morph/tier": tier})
        for tier in plan.evict
    ]
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else plan.told,
        cursor=format_asked(plan.asked_at_bytes),
    )
