"""Decides which kernels the next scrub reads, so that the rounds reach every one."""

import json
from dataclasses import dataclass

from morph_assets.connections import Connections
from morph_assets.registry.events import EventCursor
from morph_assets.registry.kernels import get_kernel, kernels_after
from morph_assets.usecases.follow_events import START, follow_events, format_cursor, parse_cursor
from morph_kernels.identity import KernelDigest


@dataclass(frozen=True)
class ScrubPlace:
    """Where the rounds are: the last kernel that was asked for, and how far the log was read for damage."""

    after: KernelDigest | None = None
    seen: EventCursor = START


@dataclass(frozen=True)
class ScrubPlan:
    """The next kernels to read, the blueprints whose kernel was lost since the last time, and the place after it."""

    after: KernelDigest | None
    count: int
    rebuild: tuple[str, ...]
    place: ScrubPlace


def plan_scrub(connections: Connections, place: ScrubPlace, *, limit: int) -> ScrubPlan:
    """Return what to read next; behind the last kernel a new round begins."""
    registry = connections.registry("platform")
    after = place.after
    batch = kernels_after(registry, after, limit=limit)
    if not batch and after is not None:
        after, batch = None, kernels_after(registry, None, limit=limit)
    told = follow_events(connections, place.seen, types=("artifact.damaged",))
    given_up = {event.facts["kernel_digest"] for event in told.events if event.facts["action"] == "rebuild_wanted"}
    # Somebody may have rebuilt it since; and what was rejected or revoked is not missed.
    lost = [kernel for kernel in (get_kernel(registry, d) for d in given_up) if kernel.state == "QUARANTINED"]
    names = {name for kernel in lost for name in kernel.names}
    last = batch[-1].digest if len(batch) == limit else None
    return ScrubPlan(after, len(batch), tuple(sorted(names)), ScrubPlace(last, told.cursor))


def format_place(place: ScrubPlace) -> str:
    """Return the place as text for a cursor."""
    return json.dumps({"after": place.after, "seen": format_cursor(place.seen)})


def parse_place(text: str | None) -> ScrubPlace:
    """Return the place that the text holds; the beginning for no text, or for one that holds something else."""
    try:
        found = json.loads(text or "{}")
        after, seen = found.get("after"), found.get("seen")
    except (ValueError, AttributeError):
        return ScrubPlace()
    return ScrubPlace(
        KernelDigest(after) if isinstance(after, str) else None, parse_cursor(seen if isinstance(seen, str) else None)
    )
