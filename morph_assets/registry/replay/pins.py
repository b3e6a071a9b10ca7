"""Repeats what was held in place, and let go."""

from typing import Any

from morph_assets.registry.replay.state import ReplayedState, ToldEvent, applies


@applies("kernel.pinned", "release.pinned", "checkpoint.pinned")
def pinned(state: ReplayedState, event: ToldEvent) -> None:
    """A pin, or the same one for another reason or time."""
    facts = event.facts
    columns = {"reason": facts["reason"], "pinned_by": event.actor, "until_us": facts["until_us"]}
    state.put("pin", (facts["subject"],), **_named(facts["subject"]), **columns, row_version=1)
    state.change("pin", facts["subject"], **columns, row_version=facts["row_version"])


@applies("kernel.unpinned", "release.unpinned", "checkpoint.unpinned")
def unpinned(state: ReplayedState, event: ToldEvent) -> None:
    """No pin any more."""
    state.drop("pin", event.facts["subject"])


def _named(subject: str) -> dict[str, Any]:
    kind, _, identity = subject.partition("/")
    name, _, version = identity.partition("@")
    is_release = kind == "release"
    return {
        "kernel_digest": identity if kind == "kernel" else None,
        "name": name if is_release else None,
        "version": int(version) if is_release else None,
        "checkpoint": identity if kind == "checkpoint" else None,
    }
