"""Reads the archived copy of a chain back, in order, and says where it has holes."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from morph_assets.connections import Connections
from morph_assets.registry.audit.finding import Finding, Tampering
from morph_assets.registry.audit.row import EventRow
from morph_assets.registry.audit.segment import MAX_SEGMENT_BYTES, parse_segment
from morph_assets.registry.events import Chain
from morph_assets.registry.relays import relay_seq
from morph_kernels.artifact.document import MalformedError
from morph_kernels.identity import ObjectKey
from morph_kernels.store import ObjectNotFoundError, ObjectTooLargeError
from morph_kernels.store.keys import InvalidKeyError, log_prefix, parse_segment_key


@dataclass
class Archive:
    """The segments of a chain as they were when this was made; `findings` grow while they are read."""

    connections: Connections
    chain: Chain
    keys: list[ObjectKey]
    findings: list[Finding] = field(default_factory=list)
    last_seq: int = 0
    _unreadable: bool = False

    def rows(self, *, after: int = 0) -> Iterator[EventRow]:
        """Yield the events in the order of (timeline, number), from the segment on that holds the first one wanted."""
        places = [parse_segment_key(key) for key in self.keys]
        begin = max((at for at, (_, first) in enumerate(places) if first <= after + 1), default=0)
        for key, (timeline, first) in zip(self.keys[begin:], places[begin:], strict=True):
            self._expect(first, after=after)
            rows = self._read(key, timeline, first)
            yield from rows
            self.last_seq = rows[-1].seq if rows else self.last_seq

    def close(self) -> None:
        """Compare what was read with how far the registry remembers to have archived."""
        archived = relay_seq(self.connections.registry("auditor"), self.chain.relay)
        if self.last_seq < archived and not self.findings:
            self._find(self.last_seq + 1, Tampering.SEGMENT_MISSING, "the registry remembers to have archived it")

    def _expect(self, first: int, *, after: int) -> None:
        if self._unreadable:  # and told of already
            self._unreadable, self.last_seq = False, first - 1
        missing = max(self.last_seq, after) + 1
        if first > missing:
            self._find(missing, Tampering.SEGMENT_MISSING, f"the store's next copy begins at event {first}")

    def _read(self, key: ObjectKey, timeline: int, first: int) -> list[EventRow]:
        try:
            rows = parse_segment(self.connections.store.get(key, max_bytes=MAX_SEGMENT_BYTES), what=key)
        except (MalformedError, ObjectNotFoundError, ObjectTooLargeError) as error:
            return self._damaged(first, str(error))
        if (rows[0].tenant, rows[0].timeline, rows[0].seq) != (self.connections.tenant, timeline, first):
            return self._damaged(first, f"{key} holds other events than its name says")
        return rows

    def _damaged(self, seq: int, detail: str) -> list[EventRow]:
        self._unreadable = True
        self._find(seq, Tampering.SEGMENT_CHANGED, detail)
        return []

    def _find(self, seq: int, kind: Tampering, detail: str) -> None:
        self.findings.append(Finding(self.chain.name, seq, kind, detail))


def open_archive(connections: Connections, chain: Chain) -> Archive:
    """List the chain's segments now; later ones are not looked at.

    Raises:
        StoreError: the store does not answer.
    """
    found = connections.store.list_objects(log_prefix(connections.tenant, chain.name))
    return Archive(connections, chain, sorted(entry.key for entry in found if _is_segment(entry.key)))


def _is_segment(key: str) -> bool:
    try:
        parse_segment_key(key)
    except InvalidKeyError:
        return False
    return True
