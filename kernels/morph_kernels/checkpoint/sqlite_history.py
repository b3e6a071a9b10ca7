"""Any past point in a SQLite ledger: what is sought, and heads, tags and pins, within the caller's transaction."""

import sqlite3
from datetime import UTC, datetime
from uuid import UUID

from morph_kernels.checkpoint.ledger import (
    CommittedCheckpoint,
    HeadMovedError,
    LedgerError,
    RunLease,
    TagTakenError,
)
from morph_kernels.checkpoint.selector import Sought

READ = "select checkpoint, parent, epoch, step, manifest_digest, manifest_key, sequence, recorded_at from checkpoint "
_FITS = (
    "(:epoch is null or epoch = :epoch) and (:step is null or step = :step)"
    " and (:at is null or recorded_at <= :at) and (:before is null or sequence < :before)"
    " order by sequence desc limit 1"
)
_BY_ID = "where checkpoint = :checkpoint"
_BY_TAG = "where checkpoint = (select checkpoint from tag where run = :run and tag = :tag)"
_HEAD = "where checkpoint = (select checkpoint from head where run = :run and branch = :branch)"
_SAVED = "where run = :run and branch = :branch and " + _FITS
_DESCENT = """where checkpoint in (
  with recursive line (id) as (
    select checkpoint from head where run = :run and branch = :branch
    union all select c.parent from checkpoint c join line on c.checkpoint = line.id where c.parent is not null
  ) select id from line) and """
_DESCENDED = _DESCENT + _FITS


def read_row(row: tuple[str, str | None, int, int, str, str, int, str]) -> CommittedCheckpoint:
    """Return what a row of `READ` says."""
    return CommittedCheckpoint(UUID(row[0]), None if row[1] is None else UUID(row[1]), *row[2:])


def resolve(connection: sqlite3.Connection, sought: Sought) -> CommittedCheckpoint | None:
    """Return the checkpoint that is sought."""
    values = {
        **vars(sought),
        "checkpoint": None if sought.checkpoint is None else str(sought.checkpoint),
        "at": None if sought.at is None else sought.at.astimezone(UTC).isoformat(),
    }
    for condition in _conditions(sought):
        row = connection.execute(READ + condition, values).fetchone()
        if row is not None:
            return read_row(row)
    return None


def _conditions(sought: Sought) -> tuple[str, ...]:
    if sought.checkpoint is not None:
        return (_BY_ID,)
    if sought.tag is not None:
        return (_BY_TAG,)
    if (sought.epoch, sought.step, sought.at, sought.before) == (None, None, None, None):
        return (_HEAD,)
    return _SAVED, _DESCENDED


def fork(connection: sqlite3.Connection, lease: RunLease, branch: str, checkpoint: UUID) -> None:
    """Begin a branch at a checkpoint."""
    _require(connection, checkpoint)
    head = _find_head(connection, lease.run, branch)
    if head == checkpoint:
        return
    if head is not None:
        raise HeadMovedError(f"branch {lease.run}/{branch} is there already, and its head is {head}")
    connection.execute("insert into head values (?, ?, ?)", (lease.run, branch, str(checkpoint)))
    _tell(connection, "branch.forked", lease.run, branch, checkpoint)


def move_head(
    connection: sqlite3.Connection, lease: RunLease, branch: str, checkpoint: UUID, expected_head: UUID
) -> None:
    """Move the head of a branch from where it is expected."""
    _require(connection, checkpoint)
    head = _find_head(connection, lease.run, branch)
    if head == checkpoint:
        return
    if head != expected_head:
        raise HeadMovedError(f"the head of {lease.run}/{branch} is {head}, expected {expected_head}")
    connection.execute(
        "update head set checkpoint = ? where run = ? and branch = ?", (str(checkpoint), lease.run, branch)
    )
    _tell(connection, "branch.rolled_back", lease.run, branch, checkpoint)


def tag(connection: sqlite3.Connection, lease: RunLease, name: str, checkpoint: UUID, *, move: bool) -> None:
    """Give a checkpoint a name within the run."""
    _require(connection, checkpoint)
    row = connection.execute("select checkpoint from tag where run = ? and tag = ?", (lease.run, name)).fetchone()
    if row == (str(checkpoint),):
        return
    if row is not None and not move:
        raise TagTakenError(f"tag {name} of run {lease.run} names {row[0]}: say that it shall move")
    connection.execute(
        "insert into tag values (?, ?, ?) on conflict (run, tag) do update set checkpoint = excluded.checkpoint",
        (lease.run, name, str(checkpoint)),
    )
    _tell(connection, "checkpoint.tagged", lease.run, name, checkpoint)


def pin(
    connection: sqlite3.Connection, lease: RunLease, checkpoint: UUID, *, reason: str, until: datetime | None
) -> None:
    """Keep a checkpoint."""
    _require(connection, checkpoint)
    if not reason:
        raise LedgerError("a pin says why")
    if until is not None and until <= datetime.now(UTC):
        raise LedgerError(f"a pin until {until.isoformat()} would hold nothing")
    until_at = None if until is None else until.astimezone(UTC).isoformat()
    connection.execute(
        "insert into pin values (?, ?, ?) on conflict (checkpoint) do update"
        " set reason = excluded.reason, until_at = excluded.until_at",
        (str(checkpoint), reason, until_at),
    )
    _tell(connection, "checkpoint.pinned", lease.run, reason, checkpoint)


def unpin(connection: sqlite3.Connection, lease: RunLease, checkpoint: UUID, *, reason: str) -> bool:
    """Let a pin go."""
    if connection.execute("delete from pin where checkpoint = ?", (str(checkpoint),)).rowcount == 0:
        return False
    _tell(connection, "checkpoint.unpinned", lease.run, reason, checkpoint)
    return True


def _require(connection: sqlite3.Connection, checkpoint: UUID) -> None:
    if connection.execute("select 1 from checkpoint where checkpoint = ?", (str(checkpoint),)).fetchone() is None:
        raise LedgerError(f"no checkpoint {checkpoint}")


def _find_head(connection: sqlite3.Connection, run: str, branch: str) -> UUID | None:
    row = connection.execute("select checkpoint from head where run = ? and branch = ?", (run, branch)).fetchone()
    return None if row is None else UUID(row[0])


def _tell(connection: sqlite3.Connection, kind: str, run: str, name: str, checkpoint: UUID) -> None:
    connection.execute(
        "insert into event (type, run, name, checkpoint, recorded_at) values (?, ?, ?, ?, ?)",
        (kind, run, name, str(checkpoint), datetime.now(UTC).isoformat()),
    )
