"""Repeats what curators decided on kernels that nobody had tried under ordinary conditions."""

from morph_assets.registry.replay.state import ReplayedState, ToldEvent, applies


@applies("kernel.approved", "kernel.declined")
def decided(state: ReplayedState, event: ToldEvent) -> None:
    """A curator's word on one evaluation of a kernel."""
    facts = event.facts
    told = {name: facts[name] for name in ("evaluation", "approved", "reason")}
    state.put("approval", (facts["kernel_digest"], event.seq), **told, decided_by=event.actor)
