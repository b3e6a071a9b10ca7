"""Decides what to bring into Redis before anybody asks for it. Pure: needs and what is held come in, kernels go out."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from morph_assets.registry.events import EventCursor
from morph_assets.usecases.follow_events import START, format_cursor, parse_cursor
from morph_kernels.identity import KernelDigest


@dataclass(frozen=True)
class WarmingPlace:
    """Up to where releases were seen, and what was asked for already and is needed still."""

    seen: EventCursor = START
    asked: frozenset[KernelDigest] = frozenset()


@dataclass(frozen=True)
class WarmingPlan:
    """The kernels to bring, each with whom it is for, and the place after it."""

    warm: Mapping[KernelDigest, str]
    place: WarmingPlace


def plan_warming(
    needed: Mapping[KernelDigest, str], *, held: Collection[KernelDigest], place: WarmingPlace, seen: EventCursor
) -> WarmingPlan:
    """Return what is needed and not there, each kernel once as long as it is needed.

    What Redis did not take, or gave up for something better, is not asked for again: whoever loads it brings it along.

    Args:
        needed: kernels in service that running jobs or new releases want, each with whom it is for.
        held: what Redis holds.
        place: the place before.
        seen: up to where releases were looked for now.
    """
    warm = {digest: needed[digest] for digest in sorted(needed) if digest not in held and digest not in place.asked}
    return WarmingPlan(warm, WarmingPlace(seen, (place.asked & needed.keys()) | warm.keys()))


def format_warming(place: WarmingPlace) -> str:
    """Return the place as text for a cursor."""
    return json.dumps({"asked": sorted(place.asked), "seen": format_cursor(place.seen)})


def parse_warming(text: str | None) -> WarmingPlace:
    """Return the place that the text holds; the beginning for no text, or for one that holds something else."""
    try:
        found = json.loads(text or "{}")
        asked, seen = found.get("asked"), found.get("seen")
    except (ValueError, AttributeError):
        return WarmingPlace()
    digests = asked if isinstance(asked, list) else []
    return WarmingPlace(
        parse_cursor(seen if isinstance(seen, str) else None),
        frozenset(KernelDigest(digest) for digest in digests if isinstance(digest, str)),
    )
