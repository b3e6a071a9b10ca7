"""Repeats what happened to the tenant itself: its limits and who belongs to it."""

from morph_assets.registry.replay.state import ReplayedState, ToldEvent, applies


@applies("timeline.started")
def timeline_started(state: ReplayedState, event: ToldEvent) -> None:
    """A restore or a rebuild: what was handed out before is over, what was recorded stays."""


@applies("tenant.created", "tenant.described")
def created(state: ReplayedState, event: ToldEvent) -> None:
    """The tenant with its limits and members; logs of the first version tell of these later, by `tenant.described`."""
    state.put("tenant", (state.tenant,), state="active")
    for resource, limit in event.facts.get("limits", {}).items():
        state.put("quota", (resource,), hard_limit=limit)
    for login, role in event.facts.get("members", {}).items():
        state.put("tenant_member", (login,), role=role)


@applies("member.added")
def member_added(state: ReplayedState, event: ToldEvent) -> None:
    """One more login."""
    state.put("tenant_member", (event.facts["login"],), role=event.facts["role"])


@applies("quota.added")
def quota_added(state: ReplayedState, event: ToldEvent) -> None:
    """A limit of something that was not limited before."""
    state.put("quota", (event.facts["resource"],), hard_limit=event.facts["limit"])


@applies("quota.changed")
def quota_changed(state: ReplayedState, event: ToldEvent) -> None:
    """Another limit."""
    state.change("quota", event.facts["resource"], hard_limit=event.facts["to"])
