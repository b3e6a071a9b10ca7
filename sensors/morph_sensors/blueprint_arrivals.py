"""Watches for blueprints that were submitted, under a new name or as a new release."""

import dagster as dg

from morph_assets.defs.partitions import MAX_ACTIVE_BLUEPRINTS, active_blueprints, request_changes
from morph_assets.platform import Platform
from morph_assets.usecases.follow_events import format_cursor, parse_cursor
from morph_assets.usecases.plan_arrivals import ARRIVAL_EVENTS, ArrivalsPlan, ArrivedRelease, plan_arrivals


@dg.sensor(default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=10)
def blueprint_arrivals(context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]) -> dg.SensorResult:
    """Registers the names of submitted blueprints and tells Dagster of their releases.

    It starts no run: the automation condition requests whatever is then missing or changed.
    """
    found = platform.follow_events(parse_cursor(context.cursor), types=ARRIVAL_EVENTS)
    plan = plan_arrivals(
        found.events,
        registered=frozenset(active_blueprints.get_partition_keys(dynamic_partitions_store=context.instance)),
        in_use=frozenset(release.name for release in platform.list_blueprints()) if found.events else frozenset(),
        most=MAX_ACTIVE_BLUEPRINTS,
    )
    return dg.SensorResult(
        skip_reason=_told(plan),
        dynamic_partitions_requests=request_changes(active_blueprints, register=plan.register, drop=plan.drop),
        asset_events=[_event(release) for release in plan.releases],
        cursor=format_cursor(found.cursor),
    )


def _event(release: ArrivedRelease) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        "blueprint",
        partition=release.name,
        description=f"{release.name}@{release.version} was submitted",
        metadata={
            "version": release.version,
            "digest": release.digest,
            "tags": ", ".join(release.tags) or "-",
            "author": release.author or "-",
            "sequence": release.seq,
        },
        tags={"dagster/data_version": release.digest},
    )


def _told(plan: ArrivalsPlan) -> str:
    parts = [f"{release.name}@{release.version} arrived" for release in plan.releases]
    parts += [f"{name} is retired" for name in plan.drop]
    parts += [f"no room for {name}: {MAX_ACTIVE_BLUEPRINTS} are active" for name in plan.refused]
    return "; ".join(parts) or "nothing arrived"
