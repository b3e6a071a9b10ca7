"""The one commit point: a checkpoint exists when, and only when, its ledger says so."""

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import ClassVar, Protocol
from uuid import UUID

from morph_kernels.canonical import canonical_bytes
from morph_kernels.checkpoint.selector import Sought
from morph_kernels.errors import MorphError

_TIMELINE_SHIFT = 40


@dataclass(frozen=True)
class BlobLocation:
    """Where a blob's bytes are: an object's key, and the range within it."""

    location: str
    byte_offset: int
    size_bytes: int


@dataclass(frozen=True)
class RunLease:
    """The right to commit to a run. Every opening raises the epoch, which ends all earlier leases."""

    run: str
    holder: UUID
    epoch: int

    @property
    def timeline(self) -> int:
        """Which restored backup of the ledger it counts from: the registry keeps it in the epoch's high bits."""
        return self.epoch >> _TIMELINE_SHIFT


@dataclass(frozen=True)
class CommitRequest:
    """Everything that becomes visible at once. The id is the client's, so that a retry is the same commit.

    Blobs in `own_pack` are new; all others are re-used and must still be live.
    """

    checkpoint: UUID
    lease: RunLease
    branch: str
    parent: UUID | None
    epoch: int
    step: int
    controller_version: str
    world_size: int
    manifest_digest: str
    manifest_key: str
    blobs: Mapping[str, BlobLocation]
    own_pack: str
    kernels: tuple[str, ...]
    expected_head: UUID | None


@dataclass(frozen=True)
class CommitReceipt:
    """The place of the commit in the ledger's order."""

    sequence: int


@dataclass(frozen=True)
class CommittedCheckpoint:
    """A checkpoint that exists."""

    checkpoint: UUID
    parent: UUID | None
    epoch: int
    step: int
    manifest_digest: str
    manifest_key: str
    sequence: int
    recorded_at: str

    def to_bytes(self) -> bytes:
        """Return the row as canonical bytes, for the other ranks."""
        parent = None if self.parent is None else str(self.parent)
        return canonical_bytes(asdict(self) | {"checkpoint": str(self.checkpoint), "parent": parent})

    @classmethod
    def from_bytes(cls, data: bytes) -> "CommittedCheckpoint":
        """Return the row that `to_bytes` wrote."""
        row = json.loads(data)
        parent = None if row["parent"] is None else UUID(row["parent"])
        return cls(**(row | {"checkpoint": UUID(row["checkpoint"]), "parent": parent}))


class LedgerError(MorphError):
    """The ledger refused a commit. Not retryable."""


class LeaseLostError(LedgerError):
    """Another process opened the run since: this one may commit nothing more."""


class RunHeldError(LedgerError):
    """Another process holds the run and keeps its lease: when it is dead, the lease ends by itself."""

    retryable: ClassVar[bool] = True


class HeadMovedError(LedgerError):
    """The branch's head is another checkpoint than the one this commit or move was to follow."""


class TagTakenError(LedgerError):
    """The tag names another checkpoint, and moves only when it is told to."""


class BlobNotLiveError(LedgerError):
    """A blob that the checkpoint re-uses is no longer there: it must be written again."""

    retryable: ClassVar[bool] = True


class LedgerUnavailableError(MorphError):
    """The ledger did not answer; the same call may succeed later."""

    retryable: ClassVar[bool] = True


class CheckpointLedger(Protocol):
    """Runs, blobs and checkpoints, and the one transaction that makes a checkpoint visible.

    Promises, proved for every adapter in tests/contract/checkpoint_ledger.py: a commit is all or nothing and durable
    when it returns; the same id commits once; a lease ends when the run is opened again; the head moves only from
    what the commit expected; a committed checkpoint's blobs stay live. Forking, moving a head, tagging and pinning
    need the lease, copy no byte and take no checkpoint away; each may be repeated when its answer was lost.
    """

    def open_run(self, run: str, *, holder: UUID, ttl_s: float) -> RunLease:
        """Take the run over: all earlier leases end now.

        Raises:
            RunHeldError: the ledger waits for the holder's lease to run out first.
        """

    def renew(self, lease: RunLease, *, ttl_s: float) -> None:
        """Keep the lease.

        Raises:
            LeaseLostError: the run was opened again.
        """

    def release(self, lease: RunLease) -> None:
        """Give the run back, so that the next one need not wait; a lease that is over stays so."""

    def live_blobs(self, digests: Collection[str]) -> Mapping[str, BlobLocation]:
        """Return the places of those blobs that are there."""

    def commit(self, request: CommitRequest) -> CommitReceipt:
        """Make the checkpoint visible.

        Raises:
            LeaseLostError: the lease is no longer current.
            HeadMovedError: the branch's head is not `expected_head`.
            BlobNotLiveError: a re-used blob went away.
            LedgerUnavailableError: no answer; the commit may or may not have happened, so repeat it with the same id.
        """

    def note_restore(self, lease: RunLease, checkpoint: UUID) -> None:
        """Keep in mind that the run went on from a checkpoint, its own or another run's.

        Raises:
            LeaseLostError: the lease is no longer current.
            LedgerError: there is no such checkpoint.
        """

    def find(self, run: str, branch: str, limit: int) -> list[CommittedCheckpoint]:
        """Return the newest checkpoints that were saved on the branch, newest first; its head may be another one."""

    def resolve(self, sought: Sought) -> CommittedCheckpoint | None:
        """Return the checkpoint that `sought` names, as `checkpoint.selector` says."""

    def fork(self, lease: RunLease, branch: str, checkpoint: UUID) -> None:
        """Begin a branch of the run at a checkpoint, of whichever run.

        Raises:
            LeaseLostError: the lease is no longer current.
            HeadMovedError: the branch is there already, with another head.
            LedgerError: there is no such checkpoint.
        """

    def move_head(self, lease: RunLease, branch: str, checkpoint: UUID, *, expected_head: UUID) -> None:
        """Let another checkpoint be the head of a branch; the one before stays what it is.

        Raises:
            LeaseLostError: the lease is no longer current.
            HeadMovedError: the branch's head is not `expected_head`.
            LedgerError: there is no such checkpoint.
        """

    def tag(self, lease: RunLease, tag: str, checkpoint: UUID, *, move: bool) -> None:
        """Give a checkpoint a name within the run.

        Raises:
            LeaseLostError: the lease is no longer current.
            TagTakenError: the tag names another checkpoint, and `move` is false.
            LedgerError: there is no such checkpoint.
        """

    def pin(self, lease: RunLease, checkpoint: UUID, *, reason: str, until: datetime | None) -> None:
        """Keep a checkpoint from every policy, up to a time or until it is unpinned; a second pin replaces the first.

        Raises:
            LeaseLostError: the lease is no longer current.
            LedgerError: there is no such checkpoint, or somebody else pinned it.
        """

    def unpin(self, lease: RunLease, checkpoint: UUID, *, reason: str) -> bool:
        """Let a pin go; false where there is none.

        Raises:
            LeaseLostError: the lease is no longer current.
            LedgerError: somebody else pinned it.
        """

    def blobs(self, checkpoint: UUID) -> Mapping[str, BlobLocation]:
        """Return where the checkpoint's blobs are now."""
