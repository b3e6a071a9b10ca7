"""Repeats what was used, and how far the meter has come."""

from morph_assets.registry.replay.state import ReplayedState, ToldEvent, applies


@applies("usage.reported")
def reported(state: ReplayedState, event: ToldEvent) -> None:
    """Bytes that were handed out; the message that said so is taken in."""
    state.put("inbox", (event.subject,), content_digest=event.facts["content_digest"])
    _enter(state, event)


@applies("usage.metered")
def metered(state: ReplayedState, event: ToldEvent) -> None:
    """What lay in the store for a while; a window ends with its last batch."""
    facts = event.facts
    _enter(state, event)
    at = {
        "from_us": facts["to_us"] if facts["is_last"] else facts["from_us"],
        "to_us": facts["to_us"],
        "after": "" if facts["is_last"] else facts["after"],
    }
    state.put("metering", ("storage",), **at).update(at)


def enter_build(state: ReplayedState, event: ToldEvent) -> None:
    """The processor time of a compiler run; logs of earlier versions do not say when it ended."""
    facts = event.facts
    if "ended_us" in facts:
        _put(
            state,
            event,
            facts["build_id"],
            kind="build_cpu_s",
            run=None,
            blueprint_digest=facts["blueprint_digest"],
            kernel_digest=facts.get("kernel_digest"),
            quantity=facts["cpu_ms"] / 1000,
            from_us=facts["ended_us"] - facts["wall_ms"] * 1000,
            to_us=facts["ended_us"],
        )


def _enter(state: ReplayedState, event: ToldEvent) -> None:
    facts = event.facts
    window = {name: facts[name] for name in ("kind", "from_us", "to_us")}
    for entry, run, blueprint, kernel, quantity in facts["entries"]:
        _put(
            state,
            event,
            entry,
            **window,
            run=run,
            blueprint_digest=blueprint,
            kernel_digest=kernel,
            quantity=float(quantity),
        )


def _put(state: ReplayedState, event: ToldEvent, entry: str, **columns: object) -> None:
    state.put("usage_entry", (entry,), **columns, seq=event.seq)
