"""Decides what newly submitted and retired blueprints mean for the set of active ones."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from morph_assets.registry.events import EventRecord
from morph_kernels.identity import BlueprintDigest

SUBMITTED, RETIRED = "blueprint.submitted", "release.retired"
ARRIVAL_EVENTS = (SUBMITTED, RETIRED)


@dataclass(frozen=True)
class ArrivedRelease:
    """A release as its event tells of it."""

    name: str
    version: int
    digest: BlueprintDigest
    tags: tuple[str, ...]
    author: str
    seq: int


@dataclass(frozen=True)
class ArrivalsPlan:
    """Names to take up and to drop, the newest release of each name that arrived, and names for which no room is."""

    register: tuple[str, ...]
    drop: tuple[str, ...]
    releases: tuple[ArrivedRelease, ...]
    refused: tuple[str, ...]


def plan_arrivals(
    events: Sequence[EventRecord], *, registered: Collection[str], in_use: Collection[str], most: int
) -> ArrivalsPlan:
    """Return what the events change; `in_use` names every blueprint with a release that is not retired."""
    newest: dict[str, ArrivedRelease] = {}
    for event in events:
        if event.type == SUBMITTED:
            release = _release(event)
            newest[release.name] = release
    gone = {str(event.facts["name"]) for event in events if event.type == RETIRED} - set(in_use)
    drop = tuple(sorted(gone & set(registered)))
    wanted = [name for name in newest if name in in_use and name not in registered]
    room = max(0, most - len(set(registered) - gone))
    refused = frozenset(wanted[room:])
    releases = tuple(r for r in newest.values() if r.name in in_use and r.name not in refused)
    return ArrivalsPlan(tuple(wanted[:room]), drop, releases, tuple(wanted[room:]))


def _release(event: EventRecord) -> ArrivedRelease:
    facts = event.facts
    return ArrivedRelease(
        name=facts["name"],
        version=facts["version"],
        digest=facts["blueprint_digest"],
        tags=tuple(facts["tags"]),
        author=facts["author"],
        seq=event.seq,
    )
