"""Which acknowledged checkpoints a log does not tell of, because the database was lost before it was archived."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from morph_assets.registry.events import EventCursor
from morph_assets.registry.replay.state import ReplayedState
from morph_kernels.checkpoint.journal import EAGER
from morph_kernels.checkpoint.manifest import CheckpointManifest
from morph_kernels.checkpoint.record import CommitRecord
from morph_kernels.identity import COUNTER_BITS, ObjectKey
from morph_kernels.store.keys import parse_commit_record_key


@dataclass(frozen=True)
class RefusedRecord:
    """A commit record that nobody who is trusted vouches for, where it lies, and why it is refused."""

    key: ObjectKey
    why: str


@dataclass(frozen=True)
class RecoveryPlan:
    """What becomes of the commit records that the log does not tell of.

    Attributes:
        recovered: to commit again, oldest first.
        given_up: of a timeline that a restore had given up.
        refused: not believed, or unreadable, and behind the archived head: what they tell is not in the registry.
    """

    recovered: tuple[CommitRecord, ...]
    given_up: tuple[CommitRecord, ...]
    refused: tuple[RefusedRecord, ...]


def plan_recovery(
    records: Iterable[CommitRecord | RefusedRecord], state: ReplayedState, head: EventCursor
) -> RecoveryPlan:
    """Return which records to commit again: those behind the archived head, if the log does not hold them already."""
    missing: list[CommitRecord] = []
    refused: list[RefusedRecord] = []
    for found in records:
        if isinstance(found, RefusedRecord):
            refused.append(found)
        elif (str(found.checkpoint),) not in state.tables["checkpoint"]:
            missing.append(found)
    missing.sort(key=_place)
    later = [record for record in missing if _place(record) > head]
    return RecoveryPlan(
        recovered=tuple(later),
        given_up=tuple(record for record in missing if _place(record) <= head),
        # What lies before the head is told by the log, which is believed for its own sake.
        refused=tuple(found for found in refused if EventCursor(*parse_commit_record_key(found.key)) > head),
    )


def _place(record: CommitRecord) -> EventCursor:
    return EventCursor(record.timeline, record.sequence)


def commit_facts(record: CommitRecord, manifest: CheckpointManifest) -> dict[str, Any]:
    """Return the payload of the event that commits a recorded checkpoint once more."""
    return {
        "checkpoint": str(record.checkpoint),
        "run": record.run,
        "branch": record.branch,
        "parent": None if record.parent is None else str(record.parent),
        "epoch": record.epoch,
        "step": record.step,
        "controller_version": manifest.controller_version,
        "world_size": manifest.world_size,
        "manifest_digest": record.manifest_digest,
        "manifest_key": record.manifest_key,
        # The record does not keep the epoch of the lease; this is where its timeline's epochs begin.
        "lease_epoch": record.timeline << COUNTER_BITS,
        "kernels": sorted({graft.body for graft in manifest.grafts} - {EAGER}),
        "blobs": _told_blobs(manifest),
        "recovered_from": record.key,
    }


def _told_blobs(manifest: CheckpointManifest) -> Mapping[str, str]:
    told: dict[str, list[str]] = {}
    for digest, place in sorted(manifest.blobs.items(), key=lambda item: (item[1].byte_offset, item[0])):
        told.setdefault(place.location, []).append(f"{digest} {place.byte_offset} {place.size_bytes}")
    return {location: "\n".join(lines) for location, lines in told.items()}


def unknown_kernels(facts: Mapping[str, Any], state: ReplayedState) -> Sequence[str]:
    """Return the kernels of a checkpoint that the log does not tell of."""
    return [kernel for kernel in facts["kernels"] if (kernel,) not in state.tables["kernel"]]
