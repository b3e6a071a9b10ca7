"""Walks a chain beside its archived copy and its witnesses, and stops at the first event that does not hold.

Pure: what it walks over, the callers read. An event costs two small hashes, one of its payload, and a comparison.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from morph_assets.registry.audit.finding import Witness
from morph_assets.registry.audit.row import EventRow, expected_hash
from morph_assets.registry.events import ChainHead

Witnesses = Mapping[int, Sequence[Witness]]


@dataclass(frozen=True)
class Break:
    """The first event that does not hold, with what stands there, what its copy says, and who contradicts it."""

    seq: int
    row: EventRow | None
    copy: EventRow | None
    witness: Witness | None


@dataclass(frozen=True)
class Comparison:
    """The last event up to which everything holds, and what broke behind it.

    `confirmed` is the last one that a witness confirmed; `abandoned` counts archived events of an earlier timeline that
    a restored backup does not have.
    """

    head: ChainHead
    broken: Break | None
    confirmed: int
    abandoned: int


def compare_chain(
    pages: Iterable[Sequence[EventRow]],
    archive: Iterator[EventRow],
    witnesses: Witnesses,
    *,
    start: ChainHead,
    timeline: int,
) -> Comparison:
    """Return how far the chain holds.

    Args:
        pages: the events of the database behind `start`, in order.
        archive: the events of the store in the order of (timeline, number); gaps are the reader's to tell.
        witnesses: by event number.
        start: a head known to be right, or the genesis.
        timeline: the present one: an earlier one may have ended before its archive does.
    """
    seq, digest, confirmed, copies = start.seq, start.hash, start.seq, _Copies(archive)
    for row in chain.from_iterable(pages):
        expected = seq + 1
        copy = copies.take(expected, timeline=row.timeline)
        contradicted = _contradiction(witnesses.get(expected, ()), row)
        holds = row.seq == expected and row.prev_hash == digest and row.hash == expected_hash(row)
        if not holds or (copy is not None and copy != row) or contradicted is not None:
            found = Break(expected, row if row.seq == expected else None, copy, contradicted)
            return Comparison(ChainHead(seq, digest), found, confirmed, copies.abandoned)
        if expected in witnesses:
            confirmed = expected
        seq, digest = expected, row.hash
    later = copies.skip(seq, timeline=timeline)
    missing = _missing_end(seq, later, witnesses, timeline=timeline)
    return Comparison(ChainHead(seq, digest), missing, confirmed, copies.abandoned)


class _Copies:
    """The archived events, walked beside the chain; `abandoned` counts those that a later timeline has not."""

    def __init__(self, archive: Iterator[EventRow]) -> None:
        self._archive = archive
        self._next = next(archive, None)
        self.abandoned = 0

    def skip(self, seq: int, *, timeline: int) -> EventRow | None:
        """Pass over what is up to `seq`, or of a timeline before this one; return what comes then."""
        while self._next is not None and (self._next.seq <= seq or self._next.timeline < timeline):
            self.abandoned += self._next.seq > seq
            self._next = next(self._archive, None)
        return self._next

    def take(self, seq: int, *, timeline: int) -> EventRow | None:
        """Return the copy of the event `seq`, if there is one, and go on behind it."""
        copy = self.skip(seq - 1, timeline=timeline)
        if copy is None or copy.seq != seq:
            return None
        self._next = next(self._archive, None)
        return copy


def _contradiction(witnesses: Sequence[Witness], row: EventRow) -> Witness | None:
    # One of an earlier timeline speaks of what a restored backup has lost.
    told = (witness for witness in witnesses if witness.timeline >= row.timeline)
    return next((witness for witness in told if witness.hash != row.hash), None)


def _missing_end(seq: int, copy: EventRow | None, witnesses: Witnesses, *, timeline: int) -> Break | None:
    later = (w for number, told in witnesses.items() if number > seq for w in told if w.timeline >= timeline)
    witness = next(later, None)
    if copy is None and witness is None:
        return None
    return Break(seq + 1, None, copy, witness)
