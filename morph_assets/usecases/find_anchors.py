"""Reads the anchors that lie in the store, whoever put them there."""

from collections.abc import Iterator
from dataclasses import dataclass

from morph_assets.connections import Connections
from morph_assets.registry.audit.anchor import MAX_ANCHOR_BYTES
from morph_assets.registry.relays import relay_seq
from morph_kernels.canonical import sha256_hex
from morph_kernels.store import ObjectNotFoundError
from morph_kernels.store.keys import ANCHOR_PREFIX, InvalidKeyError, anchor_key, parse_anchor_number


@dataclass(frozen=True)
class StoredAnchor:
    """An anchor's bytes, of which nobody has judged the signature yet."""

    number: int
    envelope: bytes

    @property
    def digest(self) -> str:
        """What the next anchor names it by."""
        return sha256_hex(self.envelope)


def find_anchors(connections: Connections) -> dict[int, StoredAnchor]:
    """Return every anchor in the store by its number; a gap shows as a missing number."""
    found = connections.store.list_objects(ANCHOR_PREFIX)
    numbers = sorted(number for entry in found if (number := _number(entry.key)) is not None)
    return {anchor.number: anchor for number in numbers for anchor in _read(connections, number)}


def find_newest_anchor(connections: Connections) -> StoredAnchor | None:
    """Return the anchor with the highest number without reading all of them."""
    seen = relay_seq(connections.registry("auditor"), "anchor")
    newest = next(_read(connections, seen), None) if seen else None
    if seen and newest is None:
        # It was taken away, or the registry is another store's: look at what there is.
        anchors = find_anchors(connections)
        return anchors[max(anchors)] if anchors else None
    while later := next(_read(connections, (newest.number if newest else 0) + 1), None):
        newest = later
    return newest


def _number(key: str) -> int | None:
    try:
        return parse_anchor_number(key)
    except InvalidKeyError:
        return None  # whatever else lies there is no anchor


def _read(connections: Connections, number: int) -> Iterator[StoredAnchor]:
    try:
        yield StoredAnchor(number, connections.store.get(anchor_key(number), max_bytes=MAX_ANCHOR_BYTES))
    except ObjectNotFoundError:
        return
