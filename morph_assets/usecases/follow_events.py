"""Reads the registry's log on from where the reader stopped, also across a restored backup."""

from collections.abc import Sequence
from dataclasses import dataclass

from morph_assets.connections import Connections
from morph_assets.registry.events import EventCursor, EventRecord, events_after, latest_cursor

START = EventCursor(0, 0)
_PAGE = 1000


@dataclass(frozen=True)
class FollowedEvents:
    """Events not seen before, oldest first, and the place to go on from."""

    events: tuple[EventRecord, ...]
    cursor: EventCursor


def follow_events(
    connections: Connections, cursor: EventCursor, *, types: Sequence[str], limit: int = 100
) -> FollowedEvents:
    """Return at most `limit` events of the types after the cursor.

    A restored backup goes on in a later timeline, whose numbers begin below those already seen: the log is then read
    from its start, and only what stands in the later timeline is new. A cursor ahead of the log belongs to another
    log: everything is new.
    """
    registry = connections.registry("platform")
    head = latest_cursor(registry)
    if cursor > head:
        cursor = START
    seq, found = cursor.seq if cursor.timeline == head.timeline else 0, list[EventRecord]()
    while len(found) < limit:
        page = events_after(registry, seq, limit=_PAGE, types=types)
        found += [event for event in page if place_of(event) > cursor]
        if len(page) < _PAGE:
            break
        seq = page[-1].seq
    taken = tuple(found[:limit])
    if len(found) > limit:
        return FollowedEvents(taken, place_of(taken[-1]))
    # Nothing of interest is left up to the head as it was before reading.
    return FollowedEvents(taken, max([head, *(place_of(event) for event in taken)]))


def place_of(event: EventRecord) -> EventCursor:
    """Return where the event stands in the log."""
    return EventCursor(event.timeline, event.seq)


def format_cursor(cursor: EventCursor) -> str:
    """Return the cursor as one word."""
    return f"{cursor.timeline}:{cursor.seq}"


def parse_cursor(text: str | None) -> EventCursor:
    """Return the cursor that the word names; the start of the log for none, or for a word that is no cursor."""
    timeline, _, seq = (text or "").partition(":")
    if not (timeline.isdecimal() and seq.isdecimal()):
        return START
    return EventCursor(int(timeline), int(seq))
