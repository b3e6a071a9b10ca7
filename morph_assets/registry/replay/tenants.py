"""Repeats what happened to the tenant itself."""

from morph_assets.registry.replay.state import ReplayedState, ToldEvent, applies


@applies("timeline.started")
def timeline_started(state: ReplayedState, event: ToldEvent) -> None:
    """A restore or a rebuild: what was handed out before is over, what was recorded stays."""


@applies("tenant.created")
def created(state: ReplayedState, event: ToldEvent) -> None:
    """The tenant."""
    state.put("tenant", (event.facts["tenant"],), state="active")
