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


@dataclass(frozen=True)
class StoredRecord:
    """A commit record, and the key and timeline under which it lies."""

    key: ObjectKey
    timeline: int
    record: CommitRecord


@dataclass(frozen=True)
class RecoveryPlan:
    """The records to commit again, oldest first; and those of a timeline that a restore had given up."""

    recovered: tuple[StoredRecord, ...]
    given_up: tuple[StoredRecord, ...]


def plan_recovery(records: Iterable[StoredRecord], state: ReplayedState, head: EventCursor) -> RecoveryPlan:
    """Return which records to commit again: those behind the archived head, if the log does not hold them already."""
    missing = sorted(
        (stored for stored in records if (str(stored.record.checkpoint),) not in state.tables["checkpoint"]),
        key=lambda stored: (stored.timeline, stored.record.sequence),
    )
    later = [stored for stored in missing if EventCursor(stored.timeline, stored.record.sequence) > head]
    return RecoveryPlan(tuple(later), tuple(stored for stored in missing if stored not in later))


def commit_facts(stored: StoredRecord, manifest: CheckpointManifest) -> dict[str, Any]:
    """Return the payload of the event that commits a recorded checkpoint once more."""
    record = stored.record
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
        "lease_epoch": stored.timeline << COUNTER_BITS,
        "kernels": sorted({graft.body for graft in manifest.grafts} - {EAGER}),
        "blobs": _told_blobs(manifest),
        "recovered_from": stored.key,
    }


def _told_blobs(manifest: CheckpointManifest) -> Mapping[str, str]:
    told: dict[str, list[str]] = {}
    for digest, place in sorted(manifest.blobs.items(), key=lambda item: (item[1].byte_offset, item[0])):
        told.setdefault(place.location, []).append(f"{digest} {place.byte_offset} {place.size_bytes}")
    return {location: "\n".join(lines) for location, lines in told.items()}


def unknown_kernels(facts: Mapping[str, Any], state: ReplayedState) -> Sequence[str]:
    """Return the kernels of a checkpoint that the log does not tell of."""
    return [kernel for kernel in facts["kernels"] if (kernel,) not in state.tables["kernel"]]
