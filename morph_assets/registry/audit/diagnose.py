"""Says what was done to the event at which a chain first breaks, from all that knows of it."""

from collections.abc import Callable
from dataclasses import dataclass

from morph_assets.registry.audit.compare import Break
from morph_assets.registry.audit.finding import Finding, Place, Tampering
from morph_assets.registry.audit.row import EventRow, expected_hash
from morph_assets.registry.events import ChainHead

# How far from its place an event that was moved is looked for.
_REACH = 1000


@dataclass(frozen=True)
class Surroundings:
    """What a diagnosis may look up; each returns a number or None.

    `place_of` finds an event's id in the database, `copy_of` in the archive, `successor` an event that names a hash as
    the one before it and does not stand at the given number. `last` is the highest number in the database, `confirmed`
    the last one that a witness confirmed.
    """

    place: Place
    last: int
    confirmed: int
    place_of: Callable[[str], int | None]
    copy_of: Callable[[str], int | None]
    successor: Callable[[bytes, int], int | None]


def diagnose(broken: Break, head: ChainHead, around: Surroundings) -> Finding:
    """Return the finding of a break behind the last event that holds."""
    row, copy = broken.row, broken.copy
    if row is None:
        return _diagnose_gap(broken, around)
    holds = row.prev_hash == head.hash and row.hash == expected_hash(row)
    if copy is not None and copy != row:
        copy_holds = copy.prev_hash == head.hash and copy.hash == expected_hash(copy)
        if holds and not copy_holds:
            return _found(broken, around, Tampering.SEGMENT_CHANGED, "the store's copy does not fit its own hash")
        kind = _by_identity(row, copy, around)
        if kind is not Tampering.CHANGED or not holds:
            return _found(broken, around, kind, f"the store's copy tells another event, {copy.type} of {copy.subject}")
        return _found(broken, around, Tampering.REWRITTEN, "its hash was made anew; the store's copy has another")
    if not holds:
        return _diagnose_alone(broken, row, head, around)
    # The chain and its copy agree, and somebody outside remembers another hash: both were rewritten, since when?
    who = broken.witness.who if broken.witness else "nobody"
    detail = f"{who} was signed over another event {broken.seq}"
    return Finding(around.place, min(around.confirmed + 1, broken.seq), Tampering.REWRITTEN, detail)


def _diagnose_gap(broken: Break, around: Surroundings) -> Finding:
    known = broken.witness.who if broken.witness else "the store's copy" if broken.copy else "the numbers behind it"
    if broken.seq <= around.last:
        return _found(broken, around, Tampering.DELETED, f"{known} show that it was there")
    return _found(broken, around, Tampering.TRUNCATED, f"the log ends before it, and {known} knows of more")


def _diagnose_alone(broken: Break, row: EventRow, head: ChainHead, around: Surroundings) -> Finding:
    """Tell from the database alone: nothing outside knows this event yet."""
    true_place = around.successor(head.hash, broken.seq)
    if true_place is None:
        return _found(broken, around, Tampering.CHANGED, "it does not fit its hash")
    moved = any(
        row.hash == expected_hash(row._replace(seq=seq)) for seq in range(max(1, row.seq - _REACH), row.seq + _REACH)
    )
    kind = Tampering.REORDERED if moved else Tampering.INSERTED
    return _found(broken, around, kind, f"the event that follows {head.seq} stands at {true_place}")


def _by_identity(row: EventRow, copy: EventRow, around: Surroundings) -> Tampering:
    """Tell by the events' ids what happened to the order."""
    if row.event_id == copy.event_id:
        return Tampering.CHANGED
    elsewhere, copied = around.place_of(copy.event_id), around.copy_of(row.event_id)
    if elsewhere is not None:
        return Tampering.REORDERED if copied is not None else Tampering.INSERTED
    return Tampering.DELETED if copied is not None else Tampering.CHANGED


def _found(broken: Break, around: Surroundings, kind: Tampering, detail: str) -> Finding:
    return Finding(around.place, broken.seq, kind, detail)
