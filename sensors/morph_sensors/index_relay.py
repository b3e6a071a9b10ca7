"""Watches for indexes that do not tell of everything the registry's log does."""

import dagster as dg

from morph_assets.defs.kernels.jobs import relay_indexes
from morph_assets.platform import Platform


@dg.sensor(job=relay_indexes, default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=30)
def index_relay(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
    """Requests the relay where an index is behind or grows old.

    Publishing and taking back refresh their index themselves; the relay is for those that died in between.
    """
    behind = platform.stale_indexes()
    at_work = dg.RunsFilter(job_name=relay_indexes.name, statuses=[*_UNFINISHED])
    if not behind:
        return dg.SensorResult(skip_reason="every index is complete")
    if context.instance.get_runs(at_work, limit=1):
        return dg.SensorResult(skip_reason=f"a relay is at work for {', '.join(behind)}")
    return dg.SensorResult(run_requests=[dg.RunRequest()])


_UNFINISHED = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
)
