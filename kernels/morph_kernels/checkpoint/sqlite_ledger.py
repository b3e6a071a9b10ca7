"""The ledger of a single machine without the platform: one SQLite file, every commit on disk before it returns."""

import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from morph_kernels.checkpoint import sqlite_history
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
    RunLease,
)
from morph_kernels.checkpoint.selector import Sought

_TABLES = """
create table if not exists run (
  run text primary key, holder text not null, lease_epoch integer not null
) strict;
create table if not exists blob (
  digest text primary key, location text not null, byte_offset integer not null check (byte_offset >= 0),
  size_bytes integer not null check (size_bytes > 0)
) strict;
create table if not exists checkpoint (
  sequence integer primary key autoincrement, checkpoint text not null unique, run text not null references run,
  branch text not null, parent text references checkpoint (checkpoint), epoch integer not null, step integer not null,
  controller_version text not null, world_size integer not null, lease_epoch integer not null,
  manifest_digest text not null, manifest_key text not null, recorded_at text not null
) strict;
create table if not exists checkpoint_blob (
  checkpoint text not null references checkpoint (checkpoint), digest text not null references blob,
  primary key (checkpoint, digest)
) strict;
create table if not exists checkpoint_kernel (
  checkpoint text not null references checkpoint (checkpoint), kernel text not null, primary key (checkpoint, kernel)
) strict;
create table if not exists tag (
  run text not null references run, tag text not null,
  checkpoint text not null references checkpoint (checkpoint), primary key (run, tag)
) strict;
create table if not exists pin (
  checkpoint text primary key references checkpoint (checkpoint), reason text not null check (reason <> ''),
  until_at text
) strict;
create table if not exists event (
  event integer primary key autoincrement, type text not null, run text not null references run, name text not null,
  checkpoint text not null references checkpoint (checkpoint), recorded_at text not null
) strict;
create table if not exists restore (
  run text not null references run, checkpoint text not null references checkpoint (checkpoint),
  recorded_at text not null
) strict;
create table if not exists head (
  run text not null references run, branch text not null,
  checkpoint text not null references checkpoint (checkpoint), primary key (run, branch)
) strict;
"""


class SqliteLedger:
    """A `CheckpointLedger` in one file, for one machine."""

    def __init__(self, path: Path | str, *, timeout_s: float = 5.0) -> None:
        self._path = Path(path)
        self._timeout_s = timeout_s
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        except OSError as error:
            raise LedgerUnavailableError(f"cannot open the ledger {self._path}: {error.strerror}") from error
        with self._transaction() as connection:
            for statement in _TABLES.split(";"):
                connection.execute(statement)

    def open_run(self, run: str, *, holder: UUID, ttl_s: float) -> RunLease:
        """Take the run over; on one machine only a newer opening ends a lease, never the clock."""
        if ttl_s <= 0:
            raise LedgerError(f"a lease of {ttl_s} s ends before it begins")
        with self._transaction() as connection:
            (epoch,) = connection.execute(
                "insert into run values (?, ?, 1) on conflict (run) do update"
                " set holder = excluded.holder, lease_epoch = lease_epoch + 1 returning lease_epoch",
                (run, str(holder)),
            ).fetchone()
        return RunLease(run, holder, epoch)

    def renew(self, lease: RunLease, *, ttl_s: float) -> None:
        """Check that the lease is still the run's newest."""
        if ttl_s <= 0:
            raise LedgerError(f"a lease of {ttl_s} s ends before it begins")
        with self._transaction() as connection:
            _check_lease(connection, lease)

    def release(self, lease: RunLease) -> None:
        """Do nothing: here nobody waits for a lease."""

    def live_blobs(self, digests: Collection[str]) -> Mapping[str, BlobLocation]:
        """Return the places of those blobs that are there."""
        with self._transaction() as connection:
            return {digest: place for digest in digests if (place := _find_blob(connection, digest)) is not None}

    def commit(self, request: CommitRequest) -> CommitReceipt:
        """Make the checkpoint visible, all or nothing."""
        with self._transaction() as connection:
            done = connection.execute(
                "select sequence from checkpoint where checkpoint = ?", (str(request.checkpoint),)
            ).fetchone()
            if done is not None:
                return CommitReceipt(done[0])
            _check_lease(connection, request.lease)
            _check_head(connection, request)
            _keep_blobs(connection, request)
            return CommitReceipt(_insert(connection, request))

    def note_restore(self, lease: RunLease, checkpoint: UUID) -> None:
        """Keep in mind that the run went on from a checkpoint."""
        with self._transaction() as connection:
            _check_lease(connection, lease)
            try:
                connection.execute(
                    "insert into restore values (?, ?, ?)", (lease.run, str(checkpoint), datetime.now(UTC).isoformat())
                )
            except sqlite3.IntegrityError as error:
                raise LedgerError(f"no checkpoint {checkpoint}") from error

    def find(self, run: str, branch: str, limit: int) -> list[CommittedCheckpoint]:
        """Return the newest checkpoints of the branch, newest first."""
        with self._transaction() as connection:
            rows = connection.execute(
                sqlite_history.READ + "where run = ? and branch = ? order by sequence desc limit ?",
                (run, branch, limit),
            ).fetchall()
        return [sqlite_history.read_row(row) for row in rows]

    def resolve(self, sought: Sought) -> CommittedCheckpoint | None:
        """Return the checkpoint that is sought."""
        with self._transaction() as connection:
            return sqlite_history.resolve(connection, sought)

    def fork(self, lease: RunLease, branch: str, checkpoint: UUID) -> None:
        """Begin a branch of the run at a checkpoint."""
        with self._transaction() as connection:
            _check_lease(connection, lease)
            sqlite_history.fork(connection, lease, branch, checkpoint)

    def move_head(self, lease: RunLease, branch: str, checkpoint: UUID, *, expected_head: UUID) -> None:
        """Let another checkpoint be the head of a branch."""
        with self._transaction() as connection:
            _check_lease(connection, lease)
            sqlite_history.move_head(connection, lease, branch, checkpoint, expected_head)

    def tag(self, lease: RunLease, tag: str, checkpoint: UUID, *, move: bool) -> None:
        """Give a checkpoint a name within the run."""
        with self._transaction() as connection:
            _check_lease(connection, lease)
            sqlite_history.tag(connection, lease, tag, checkpoint, move=move)

    def pin(self, lease: RunLease, checkpoint: UUID, *, reason: str, until: datetime | None) -> None:
        """Keep a checkpoint from every policy."""
        with self._transaction() as connection:
            _check_lease(connection, lease)
            sqlite_history.pin(connection, lease, checkpoint, reason=reason, until=until)

    def unpin(self, lease: RunLease, checkpoint: UUID, *, reason: str) -> bool:
        """Let a pin go."""
        with self._transaction() as connection:
            _check_lease(connection, lease)
            return sqlite_history.unpin(connection, lease, checkpoint, reason=reason)

    def blobs(self, checkpoint: UUID) -> Mapping[str, BlobLocation]:
        """Return where the checkpoint's blobs are now."""
        with self._transaction() as connection:
            rows = connection.execute(
                "select digest, location, byte_offset, size_bytes from blob natural join checkpoint_blob"
                " where checkpoint = ?",
                (str(checkpoint),),
            ).fetchall()
        return {digest: BlobLocation(*place) for digest, *place in rows}

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(self._path, timeout=self._timeout_s, isolation_level=None)
            try:
                # Not WAL: switching to it ignores the timeout, so two first openings would fail each other. With a
                # rollback journal, only `extra` also keeps a commit through the loss of power.
                connection.execute("pragma synchronous = extra")
                connection.execute("pragma foreign_keys = on")
                # Immediate: the check of the lease and the write that relies on it see one state.
                connection.execute("begin immediate")
                try:
                    yield connection
                    connection.execute("commit")
                finally:
                    if connection.in_transaction:
                        connection.execute("rollback")
            finally:
                connection.close()
        except sqlite3.OperationalError as error:
            raise LedgerUnavailableError(f"{self._path}: {error}") from error


def _check_lease(connection: sqlite3.Connection, lease: RunLease) -> None:
    row = connection.execute("select holder, lease_epoch from run where run = ?", (lease.run,)).fetchone()
    if row != (str(lease.holder), lease.epoch):
        raise LeaseLostError(f"run {lease.run!r} was opened again after lease {lease.epoch}")


def _check_head(connection: sqlite3.Connection, request: CommitRequest) -> None:
    row = connection.execute(
        "select checkpoint from head where run = ? and branch = ?", (request.lease.run, request.branch)
    ).fetchone()
    head = UUID(row[0]) if row is not None else None
    if head != request.expected_head:
        raise HeadMovedError(f"the head of {request.branch!r} is {head}, expected {request.expected_head}")


def _keep_blobs(connection: sqlite3.Connection, request: CommitRequest) -> None:
    for digest, place in request.blobs.items():
        found = _find_blob(connection, digest)
        if found is None and place.location != request.own_pack:
            raise BlobNotLiveError(f"blob {digest} is no longer in {place.location}")
        if found is not None and found != place:
            raise BlobNotLiveError(f"blob {digest} is kept in {found.location} by now")
        if found is None:
            connection.execute(
                "insert into blob values (?, ?, ?, ?)", (digest, place.location, place.byte_offset, place.size_bytes)
            )


def _find_blob(connection: sqlite3.Connection, digest: str) -> BlobLocation | None:
    row = connection.execute(
        "select location, byte_offset, size_bytes from blob where digest = ?", (digest,)
    ).fetchone()
    return None if row is None else BlobLocation(*row)


def _insert(connection: sqlite3.Connection, request: CommitRequest) -> int:
    identity = str(request.checkpoint)
    (sequence,) = connection.execute(
        "insert into checkpoint (checkpoint, run, branch, parent, epoch, step, controller_version, world_size,"
        " lease_epoch, manifest_digest, manifest_key, recorded_at) values (?,?,?,?,?,?,?,?,?,?,?,?) returning sequence",
        (
            identity,
            request.lease.run,
            request.branch,
            None if request.parent is None else str(request.parent),
            request.epoch,
            request.step,
            request.controller_version,
            request.world_size,
            request.lease.epoch,
            request.manifest_digest,
            request.manifest_key,
            datetime.now(UTC).isoformat(),
        ),
    ).fetchone()
    blobs = [(identity, digest) for digest in request.blobs]
    kernels = [(identity, kernel) for kernel in request.kernels]
    connection.executemany("insert into checkpoint_blob values (?, ?)", blobs)
    connection.executemany("insert into checkpoint_kernel values (?, ?)", kernels)
    connection.execute(
        "insert into head values (?, ?, ?) on conflict (run, branch) do update set checkpoint = excluded.checkpoint",
        (request.lease.run, request.branch, identity),
    )
    return int(sequence)
