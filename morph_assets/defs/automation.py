"""When an asset is requested by itself."""

from typing import Any

import dagster as dg

_Condition = dg.AutomationCondition
_HOURLY = "0 * * * *"


def requested_when_missing_or_changed() -> dg.AutomationCondition[dg.AssetKey]:
    """Return the one condition of the way from a blueprint to a published kernel.

    A partition is requested once when it is missing, when the data it is made from changed, or when its code did.
    Unlike Dagster's `eager()` this holds for keys that are older than the daemon's first tick, and a dependency that
    was made again with the same data version asks for nothing. What failed is not tried again until something changes.

    Dependencies must be there, at rest, and have passed their blocking checks. That keeps a rejected kernel from being
    requested, but it is not the gate: that is the registry's guard.
    """
    missing = _Condition.newly_missing() | (_Condition.missing() & _Condition.initial_evaluation())
    # Parents that a run made together with this asset are its own affair.
    changed_elsewhere = _Condition.data_version_changed() & ~_Condition.executed_with_root_target()
    changed = _Condition.any_deps_match(changed_elsewhere | _Condition.will_be_requested())
    asked_for = (missing | changed | _Condition.code_version_changed()).since(
        _Condition.newly_requested() | _Condition.newly_updated()
    )
    return (
        asked_for
        & ~_Condition.any_deps_missing()
        & ~_Condition.any_deps_in_progress()
        & ~_Condition.in_progress()
        & _Condition.all_deps_blocking_checks_passed()
    ).with_label("missing or changed")


def requested_when_dependencies_settled() -> dg.AutomationCondition[Any]:
    """Return the condition of what sums others up: once after any of them changed, when none is in the making."""
    changed = _Condition.any_deps_match(_Condition.newly_updated())
    in_the_making = _Condition.any_deps_match(_Condition.in_progress() | _Condition.will_be_requested())
    asked_for = changed.since(_Condition.newly_requested() | _Condition.newly_updated())
    return (asked_for & ~in_the_making & ~_Condition.in_progress()).with_label("dependencies settled")


def requested_every_hour() -> dg.AutomationCondition[Any]:
    """Return the condition of what depends on nothing and changes by itself."""
    tick: dg.AutomationCondition[Any] = _Condition.cron_tick_passed(_HOURLY)
    return (tick.since_last_handled() & ~_Condition.in_progress()).with_label("every hour")


automation = dg.AutomationConditionSensorDefinition(
    "automation",
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=15,
    description="Requests what is missing or changed, until a submitted blueprint is a published kernel.",
)
