"""Checkpoints as the platform sees them; training commits them by calling the schema's functions itself."""

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

from morph_assets.registry.connection import Registry
from morph_kernels.identity import KernelDigest


@dataclass(frozen=True)
class CheckpointRecord:
    """A committed checkpoint; `seq` is its event's number."""

    checkpoint: UUID
    run: str
    branch: str
    parent: UUID | None
    epoch: int
    step: int
    controller_version: str
    world_size: int
    manifest_digest: str
    manifest_key: str
    kernels: list[KernelDigest]
    size_bytes: int
    seq: int
    recorded_at: datetime


@dataclass(frozen=True)
class RunRecord:
    """A run; it is active while a writer's lease on it is live."""

    run: str
    active: bool
    checkpoints: int
    latest_seq: int | None
    created_at: datetime


_COLUMNS: LiteralString = """
    SELECT c.checkpoint, c.run, c.branch, c.parent, c.epoch, c.step, c.controller_version, c.world_size,
           c.manifest_digest, c.manifest_key, c.seq, c.recorded_at,
           ARRAY(SELECT k.kernel_digest::text FROM morph.checkpoint_kernel k
                 WHERE k.tenant = c.tenant AND k.checkpoint = c.checkpoint ORDER BY 1) AS kernels,
           (SELECT coalesce(sum(b.size_bytes), 0)::bigint FROM morph.checkpoint_blob cb JOIN morph.blob b
                ON b.tenant = cb.tenant AND b.digest = cb.digest
            WHERE cb.tenant = c.tenant AND cb.checkpoint = c.checkpoint) AS size_bytes
    FROM morph.checkpoint c
"""


def list_checkpoints(
    registry: Registry, *, run: str | None = None, after_seq: int = 0, limit: int = 1000
) -> list[CheckpointRecord]:
    """Return the checkpoints committed after the sequence number, of one run or of all, newest first."""
    return registry.fetch(
        CheckpointRecord,
        _COLUMNS + "WHERE c.seq > %s AND (%s::text IS NULL OR c.run = %s) ORDER BY c.seq DESC LIMIT %s",
        (after_seq, run, run, limit),
    )


def list_checkpoints_after(registry: Registry, seq: int, *, limit: int) -> list[CheckpointRecord]:
    """Return the next checkpoints committed after the sequence number, oldest first: for whoever follows the log."""
    return registry.fetch(CheckpointRecord, _COLUMNS + "WHERE c.seq > %s ORDER BY c.seq LIMIT %s", (seq, limit))


def list_runs(registry: Registry, *, limit: int = 500) -> list[RunRecord]:
    """Return the runs, newest first."""
    return registry.fetch(
        RunRecord,
        """SELECT r.run, r.created_at, coalesce(l.expires_at > clock_timestamp(), false) AS active,
                  count(c.checkpoint)::int AS checkpoints, max(c.seq) AS latest_seq
           FROM morph.run r
           LEFT JOIN morph.lease l ON l.tenant = r.tenant AND l.name = 'run/' || r.run
           LEFT JOIN morph.checkpoint c ON c.tenant = r.tenant AND c.run = r.run
           GROUP BY r.tenant, r.run, r.created_at, l.expires_at ORDER BY r.created_at DESC, r.run LIMIT %s""",
        (limit,),
    )
