"""Watches for checkpoints that training committed."""

import dagster as dg

from morph_assets.defs.partitions import MAX_ACTIVE_RUNS, active_runs, request_changes
from morph_assets.defs.tables import table
from morph_assets.platform import Platform
from morph_assets.registry.checkpoints import CheckpointRecord
from morph_assets.registry.events import EventCursor
from morph_assets.usecases.follow_events import format_cursor, parse_cursor
from morph_assets.usecases.plan_commits import CommitsPlan, plan_commits


@dg.sensor(default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=15)
def checkpoint_commits(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
    """Tells Dagster of each committed checkpoint, as a materialisation of its run's partition.

    Training committed it long before: no run is started, and nothing waits for this.
    """
    found = platform.commits_after(parse_cursor(context.cursor))
    plan = plan_commits(
        found.checkpoints,
        registered=frozenset(active_runs.get_partition_keys(dynamic_partitions_store=context.instance)),
        runs=platform.list_runs() if found.checkpoints else (),
        most=MAX_ACTIVE_RUNS,
    )
    return dg.SensorResult(
        skip_reason=_told(plan),
        dynamic_partitions_requests=request_changes(active_runs, register=plan.register, drop=plan.drop),
        asset_events=[_event(checkpoint, found.cursor) for checkpoint in plan.report],
        cursor=format_cursor(found.cursor),
    )


def _event(checkpoint: CheckpointRecord, cursor: EventCursor) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        "checkpoint",
        partition=checkpoint.run,
        description=f"{checkpoint.run} at epoch {checkpoint.epoch}, step {checkpoint.step}",
        metadata={
            "checkpoint": str(checkpoint.checkpoint),
            "branch": checkpoint.branch,
            "epoch": checkpoint.epoch,
            "step": checkpoint.step,
            "world_size": checkpoint.world_size,
            "size_bytes": checkpoint.size_bytes,
            "kernels": table(("kernel",), [(digest,) for digest in checkpoint.kernels]),
            "kernel_count": len(checkpoint.kernels),
            "controller_version": checkpoint.controller_version,
            "manifest": dg.MetadataValue.path(checkpoint.manifest_key),
            "committed_at": dg.MetadataValue.timestamp(checkpoint.recorded_at),
            "sequence": checkpoint.seq,
            "timeline": cursor.timeline,
        },
        tags={"dagster/data_version": checkpoint.manifest_digest},
    )


def _told(plan: CommitsPlan) -> str:
    parts = [f"{len(plan.report)} checkpoints reported"] if plan.report else []
    parts += [f"{plan.passed_over} of runs that are not among the {MAX_ACTIVE_RUNS} shown"] if plan.passed_over else []
    parts += [f"{len(plan.drop)} runs no longer shown"] if plan.drop else []
    return "; ".join(parts) or "nothing was committed"
