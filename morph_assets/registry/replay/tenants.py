"""Repeats what happened to the tenant itself."""

from morph_assets.registry.replay.state import ReplayedState, ToldEvent, applies


@applies("tenant.created")
def created(state: ReplayedState, event: ToldEvent) -> None:
    """The tenant."""
    state.put("tenant", (event.facts["tenant"],), state="active")
