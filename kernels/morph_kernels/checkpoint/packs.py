"""Packs: immutable objects that hold the new blobs of one save end to end, nothing between them.

A blob is known by the blake3 of its bytes. What is live already is not written again.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import blake3

from morph_kernels.checkpoint.ledger import BlobLocation
from morph_kernels.checkpoint.retry import persist
from morph_kernels.errors import MorphError
from morph_kernels.store import ObjectNotFoundError, ObjectStore, ObjectTruncatedError
from morph_kernels.store.keys import parse_key

# Reads that lie this close together cost less as one request.
_GAP_BYTES = 256 * 1024
_MAX_READ_BYTES = 64 * 1024 * 1024


class CheckpointDamagedError(MorphError):
    """Stored bytes are not what the checkpoint says. Not retryable; older checkpoints may still be whole."""

    retryable: ClassVar[bool] = False

    def __init__(self, what: str, where: str, found: str) -> None:
        super().__init__(f"{what} is damaged in {where}: {found}")
        self.what, self.where = what, where


def blob_digest(data: bytes | bytearray | memoryview) -> str:
    """Return the address of a blob."""
    return blake3.blake3(data).hexdigest()


@dataclass(frozen=True)
class PackPlan:
    """The blobs to write, in order, and where all of the checkpoint's blobs will be."""

    new: tuple[str, ...]
    size_bytes: int
    locations: Mapping[str, BlobLocation]


def plan_pack(sizes_bytes: Mapping[str, int], live: Mapping[str, BlobLocation], pack_key: str) -> PackPlan:
    """Decide which blobs go into the pack: those that are not live. Empty blobs need no place."""
    locations: dict[str, BlobLocation] = {}
    new, end = [], 0
    for digest, size in sizes_bytes.items():
        if not size:
            continue
        if digest in live:
            locations[digest] = live[digest]
            continue
        locations[digest] = BlobLocation(pack_key, end, size)
        new.append(digest)
        end += size
    return PackPlan(tuple(new), end, locations)


def fill_pack(plan: PackPlan, blobs: Mapping[str, memoryview]) -> memoryview:
    """Return the pack's bytes."""
    if len(plan.new) == 1:
        return blobs[plan.new[0]]
    pack = memoryview(bytearray(plan.size_bytes))
    end = 0
    for digest in plan.new:
        blob = blobs[digest]
        pack[end : end + len(blob)] = blob
        end += len(blob)
    return pack


@dataclass(frozen=True)
class RangeRead:
    """One request to the store, and the blobs within it."""

    key: str
    offset: int
    length: int
    blobs: Mapping[str, BlobLocation]


def plan_reads(locations: Mapping[str, BlobLocation]) -> list[RangeRead]:
    """Return the fewest requests that fetch the blobs without much between them."""
    reads: list[RangeRead] = []
    ordered = sorted(locations.items(), key=lambda item: (item[1].location, item[1].byte_offset))
    for digest, place in ordered:
        last = reads[-1] if reads else None
        end = place.byte_offset + place.size_bytes
        if (
            last is not None
            and last.key == place.location
            and place.byte_offset - (last.offset + last.length) <= _GAP_BYTES
            and end - last.offset <= _MAX_READ_BYTES
        ):
            length = max(last.length, end - last.offset)
            reads[-1] = RangeRead(last.key, last.offset, length, {**last.blobs, digest: place})
        else:
            reads.append(RangeRead(place.location, place.byte_offset, place.size_bytes, {digest: place}))
    return reads


def _read(store: ObjectStore, read: RangeRead) -> bytes:
    return store.get_range(parse_key(read.key), offset=read.offset, length=read.length)


def read_blobs(
    store: ObjectStore, locations: Mapping[str, BlobLocation], names: Mapping[str, str]
) -> Iterable[tuple[str, memoryview]]:
    """Fetch blobs and check each against its digest; `names` says what a blob is, for the error.

    Raises:
        CheckpointDamagedError: a pack is gone, short, or differs; it names the tensor and the pack.
    """
    for read in plan_reads(locations):
        first = names[next(iter(read.blobs))]
        try:
            data = memoryview(persist(partial(_read, store, read)))
        except ObjectNotFoundError as error:
            raise CheckpointDamagedError(first, read.key, "the pack is gone") from error
        except ObjectTruncatedError as error:
            raise CheckpointDamagedError(first, read.key, "the pack is too short") from error
        for digest, place in read.blobs.items():
            start = place.byte_offset - read.offset
            blob = data[start : start + place.size_bytes]
            if blob_digest(blob) != digest:
                raise CheckpointDamagedError(names[digest], read.key, f"{len(blob)} bytes differ from their digest")
            yield digest, blob
