"""Copies the log into the object store: what is acknowledged is there, whatever becomes of the database."""

from collections.abc import Sequence
from dataclasses import dataclass

from morph_assets.connections import Connections
from morph_assets.registry.audit.bodies import named_bodies, read_bodies
from morph_assets.registry.audit.chain import read_rows
from morph_assets.registry.audit.row import EventRow
from morph_assets.registry.audit.segment import MAX_SEGMENT_BYTES, cut_segment, encode_segment, parse_segment
from morph_assets.registry.connection import Registry
from morph_assets.registry.events import LOG, Chain
from morph_assets.registry.held_lease import hold_lease
from morph_assets.registry.relays import advance_relay, relay_seq
from morph_kernels.artifact.document import MalformedError
from morph_kernels.canonical import sha256_hex
from morph_kernels.errors import MorphError
from morph_kernels.identity import ObjectKey
from morph_kernels.store.keys import blob_key, segment_key

_SEGMENT_EVENTS = 1000
_ANY = 2**63 - 1
_REPAIR_LEASE = "relay/archive"


class ArchiveForkedError(MorphError):
    """The store holds another event in the place of the registry's: one of the two was changed. Nothing is archived."""

    def __init__(self, key: ObjectKey, seq: int) -> None:
        super().__init__(f"{key} tells another event {seq} than the registry; run `morph audit verify`")
        self.seq = seq


@dataclass(frozen=True)
class ArchivedLog:
    """How many events this call brought into the store, in how many segments, and up to where the log stands there."""

    seq: int
    events: int
    segments: int


def archive_log(connections: Connections, chain: Chain = LOG) -> ArchivedLog:
    """Bring every event, and the bodies it names, into the store; safe beside others and after a kill anywhere.

    Bodies come first, then the segment under its first number, then the cursor: so a segment never names what is not
    there, and of two archivers one stores the segment while the other goes on behind it.

    Raises:
        StoreError: the store does not answer; the next call goes on.
        ArchiveForkedError: the store and the registry tell different stories.
    """
    registry = connections.registry("platform")
    events = segments = 0
    while True:
        at = relay_seq(registry, chain.relay)
        rows = read_rows(registry, chain, after=at, up_to=_ANY, limit=_SEGMENT_EVENTS)
        if not rows:
            return ArchivedLog(at, events, segments)
        part = cut_segment(rows)
        _put_bodies(connections, registry, part)
        end = _put_segment(connections, registry, chain, part)
        if advance_relay(registry, chain.relay, expected=at, seq=end):
            events, segments = events + end - at, segments + 1


def _put_bodies(connections: Connections, registry: Registry, part: Sequence[EventRow]) -> None:
    for body, data in read_bodies(registry, named_bodies(part)):
        # What does not fit its digest is not archived under it: verification will name it.
        if data is not None and sha256_hex(data) == body.digest:
            connections.store.put_if_absent(blob_key(connections.tenant, body.digest), data)


def _put_segment(connections: Connections, registry: Registry, chain: Chain, part: Sequence[EventRow]) -> int:
    """Store the segment, or find the winner's; return the number of the last event that is then in the store."""
    first = part[0]
    key = segment_key(connections.tenant, chain.name, first.timeline, first.seq)
    if connections.store.put_if_absent(key, encode_segment(part)):
        return part[-1].seq
    try:
        present = _read(connections, key)
    except MalformedError:
        _replace_torn(connections, registry, key, part)
        present = _read(connections, key)
    # The winner may have read further than this one did.
    ours = read_rows(registry, chain, after=first.seq - 1, up_to=present[-1].seq, limit=len(present))
    same = [mine for mine, theirs in zip(ours, present, strict=False) if mine.timeline == first.timeline]
    for mine, theirs in zip(same, present, strict=False):
        if mine != theirs:
            raise ArchiveForkedError(key, mine.seq)
    # Fewer only after a restore: what the archive tells beyond them was lost with the timeline that ended there.
    return same[-1].seq


def _replace_torn(connections: Connections, registry: Registry, key: ObjectKey, part: Sequence[EventRow]) -> None:
    """Put a segment in the place of one that a crash left torn: its writer never moved the cursor over it."""
    with hold_lease(registry, _REPAIR_LEASE) as lease:
        if lease is None:
            return  # somebody else is mending it
        try:
            _read(connections, key)
        except MalformedError:
            connections.store.delete(key)
            connections.store.put_if_absent(key, encode_segment(part))


def _read(connections: Connections, key: ObjectKey) -> list[EventRow]:
    return parse_segment(connections.store.get(key, max_bytes=MAX_SEGMENT_BYTES), what=key)
