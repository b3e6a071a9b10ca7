"""The ledger of the platform: functions of the registry's schema, called as the run's own login.

Nothing here decides: fencing, the head's compare-and-swap, liveness and the audit event are one transaction in the
database. psycopg is imported on first use.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from morph_kernels.checkpoint.ledger import (
    BlobLocation,
    BlobNotLiveError,
    CommitReceipt,
    CommitRequest,
    CommittedCheckpoint,
    HeadMovedError,
    LeaseLostError,
    LedgerError,
    LedgerUnavailableError,
    RunHeldError,
    RunLease,
    TagTakenError,
)
from morph_kernels.checkpoint.selector import Sought

if TYPE_CHECKING:
    import psycopg

_OPEN = "select morph.open_run(%s, %s, %s)"
_RENEW = "select morph.renew_run(%s, %s, %s, %s)"
_RELEASE = "select morph.release_lease(%s, %s, %s)"
_LIVE = "select digest, location, byte_offset, size_bytes from morph.live_blobs(%s)"
_COMMIT = "select morph.commit_checkpoint(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
_NOTE_RESTORE = "select morph.record_restore(%s, %s, %s, %s)"
_COLUMNS = "select checkpoint, parent, epoch, step, manifest_digest, manifest_key, seq, recorded_at from morph."
_FIND = _COLUMNS + "find_checkpoints(%s, %s, %s)"
_RESOLVE = _COLUMNS + "resolve_checkpoint(%s, %s, %s, %s, %s, %s, %s, %s)"
_FORK = "select morph.fork_branch(%s, %s, %s, %s, %s)"
_MOVE_HEAD = "select morph.move_head(%s, %s, %s, %s, %s, %s)"
_TAG = "select morph.tag_checkpoint(%s, %s, %s, %s, %s, %s)"
_PIN = "select morph.pin_checkpoint(%s, %s, %s, %s, %s, %s)"
_UNPIN = "select morph.unpin_checkpoint(%s, %s, %s, %s, %s)"
_BLOBS = "select digest, location, byte_offset, size_bytes from morph.checkpoint_blobs(%s)"


class PostgresLedger:
    """A `CheckpointLedger` in the registry. A connection per call: a restarted server is simply there again."""

    def __init__(self, url: str, *, connect_timeout_s: int = 3) -> None:
        self._url = url
        self._connect_timeout_s = connect_timeout_s

    def open_run(self, run: str, *, holder: UUID, ttl_s: float) -> RunLease:
        """Take the run over."""
        ((epoch,),) = self._call(_OPEN, (run, holder, ttl_s))
        return RunLease(run, holder, epoch)

    def renew(self, lease: RunLease, *, ttl_s: float) -> None:
        """Keep the lease."""
        self._call(_RENEW, (lease.run, lease.holder, lease.epoch, ttl_s))

    def release(self, lease: RunLease) -> None:
        """Give the run back."""
        self._call(_RELEASE, (f"run/{lease.run}", lease.holder, lease.epoch))

    def live_blobs(self, digests: Collection[str]) -> Mapping[str, BlobLocation]:
        """Return the places of those blobs that are there."""
        return {digest: BlobLocation(*place) for digest, *place in self._call(_LIVE, (list(digests),))}

    def commit(self, request: CommitRequest) -> CommitReceipt:
        """Make the checkpoint visible."""
        from psycopg.types.json import Jsonb

        reused = [digest for digest, place in request.blobs.items() if place.location != request.own_pack]
        with self._connection() as connection:
            # The commit refuses dead blobs; one that the registry has forgotten would count as new.
            known = {row[0] for row in connection.execute(_LIVE.encode(), (reused,)).fetchall()}
            if not known.issuperset(reused):
                raise BlobNotLiveError(f"{len(set(reused) - known)} re-used blobs are no longer live")
            values = (
                request.checkpoint,
                request.lease.run,
                request.branch,
                request.parent,
                request.lease.holder,
                request.lease.epoch,
                request.epoch,
                request.step,
                request.controller_version,
                request.world_size,
                request.manifest_digest,
                request.manifest_key,
                Jsonb([{"digest": digest} | asdict(place) for digest, place in request.blobs.items()]),
                list(request.kernels),
                request.expected_head,
            )
            ((sequence,),) = connection.execute(_COMMIT.encode(), values).fetchall()
        return CommitReceipt(sequence)

    def note_restore(self, lease: RunLease, checkpoint: UUID) -> None:
        """Tell the lineage that the run went on from a checkpoint."""
        self._call(_NOTE_RESTORE, (lease.run, lease.holder, lease.epoch, checkpoint))

    def find(self, run: str, branch: str, limit: int) -> list[CommittedCheckpoint]:
        """Return the newest checkpoints of the branch, newest first."""
        return [_read_row(row) for row in self._call(_FIND, (run, branch, limit))]

    def resolve(self, sought: Sought) -> CommittedCheckpoint | None:
        """Return the checkpoint that is sought."""
        at, before = sought.at, sought.before
        values = (sought.run, sought.branch, sought.checkpoint, sought.tag, sought.epoch, sought.step, at, before)
        rows = self._call(_RESOLVE, values)
        return _read_row(rows[0]) if rows else None

    def fork(self, lease: RunLease, branch: str, checkpoint: UUID) -> None:
        """Begin a branch of the run at a checkpoint."""
        self._call(_FORK, (lease.run, lease.holder, lease.epoch, branch, checkpoint))

    def move_head(self, lease: RunLease, branch: str, checkpoint: UUID, *, expected_head: UUID) -> None:
        """Let another checkpoint be the head of a branch."""
        self._call(_MOVE_HEAD, (lease.run, lease.holder, lease.epoch, branch, checkpoint, expected_head))

    def tag(self, lease: RunLease, tag: str, checkpoint: UUID, *, move: bool) -> None:
        """Give a checkpoint a name within the run."""
        try:
            self._call(_TAG, (lease.run, lease.holder, lease.epoch, tag, checkpoint, move))
        except HeadMovedError as error:
            raise TagTakenError(str(error)) from error

    def pin(self, lease: RunLease, checkpoint: UUID, *, reason: str, until: datetime | None) -> None:
        """Keep a checkpoint from every policy."""
        self._call(_PIN, (lease.run, lease.holder, lease.epoch, checkpoint, reason, until))

    def unpin(self, lease: RunLease, checkpoint: UUID, *, reason: str) -> bool:
        """Let a pin go."""
        ((was_pinned,),) = self._call(_UNPIN, (lease.run, lease.holder, lease.epoch, checkpoint, reason))
        return bool(was_pinned)

    def blobs(self, checkpoint: UUID) -> Mapping[str, BlobLocation]:
        """Return where the checkpoint's blobs are now."""
        return {digest: BlobLocation(*place) for digest, *place in self._call(_BLOBS, (checkpoint,))}

    def _call(self, statement: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._connection() as connection:
            return connection.execute(statement.encode(), values).fetchall()

    @contextmanager
    def _connection(self) -> "Iterator[psycopg.Connection[tuple[Any, ...]]]":
        import psycopg

        try:
            with psycopg.connect(
                self._url, connect_timeout=self._connect_timeout_s, prepare_threshold=None
            ) as connection:
                yield connection
        except psycopg.OperationalError as error:
            raise LedgerUnavailableError(f"the registry did not answer: {error}".strip()) from error
        except psycopg.Error as error:
            raise refusal(error.sqlstate, str(error.diag.message_primary or error)) from error


def _read_row(row: tuple[Any, ...]) -> CommittedCheckpoint:
    return CommittedCheckpoint(*(*row[:-1], row[-1].isoformat()))


# The registry's own error codes.
_REFUSALS: Mapping[str, type[LedgerError]] = {
    "MO004": HeadMovedError,
    "MO005": LeaseLostError,
    "MO010": BlobNotLiveError,
    "MO011": RunHeldError,
}


def refusal(sqlstate: str | None, message: str) -> LedgerError:
    """Return the error that a refusal of the registry means."""
    return _REFUSALS.get(sqlstate or "", LedgerError)(message)
