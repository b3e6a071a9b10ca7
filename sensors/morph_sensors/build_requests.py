"""Watches for kernels that loaders missed."""

import dagster as dg

from morph_assets.defs.cache.jobs import RecallConfig, recall_kernels
from morph_assets.defs.kernels.jobs import publish_blueprint
from morph_assets.defs.partitions import active_blueprints
from morph_assets.platform import Platform


@dg.sensor(
    jobs=[publish_blueprint, recall_kernels],
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
)
def build_requests(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
    """Requests the whole way for each registered blueprint whose kernel was missed, once a request; recalls cold ones.

    A request is forgotten when a kernel is in service or when none will ever be: what failed is not tried again, until
    a loader asks on another day.
    """
    answered = platform.build_requests()
    platform.drop_build_requests(answered)
    registered = active_blueprints.get_partition_keys(dynamic_partitions_store=context.instance)
    wanted = {request.name: request for request in answered if request.answer == "build"}
    runs = [
        dg.RunRequest(run_key=request.key, job_name=publish_blueprint.name, partition_key=name)
        for name, request in wanted.items()
        if name in registered
    ]
    runs += [
        dg.RunRequest(
            run_key=f"{request.key}:{','.join(request.recall)}",
            job_name=recall_kernels.name,
            run_config=dg.RunConfig({"recall": RecallConfig(kernels=list(request.recall))}),
        )
        for request in answered
        if request.recall
    ]
    told = "; ".join(f"{request.name or request.key}: {request.told}" for request in answered)
    return dg.SensorResult(run_requests=runs, skip_reason=None if runs else told[:2000] or "nobody missed a kernel")
