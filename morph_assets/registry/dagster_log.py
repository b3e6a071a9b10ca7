"""Dagster's own database: which of its history nothing needs any more, and how large it is.

Dagster deletes runs, but cannot say which of them hold what an asset page shows, and never deletes what was reported
without a run.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString

import psycopg

from morph_assets.registry.connection import CONNECT_TIMEOUT_S
from morph_assets.registry.databases import TableSize, measure_tables
from morph_assets.registry.errors import registry_error

TABLES = (
    "runs",
    "run_tags",
    "event_logs",
    "asset_event_tags",
    "asset_check_executions",
    "job_ticks",
    "asset_daemon_asset_evaluations",
)
_LOCK_TIMEOUT = "5s"
_BATCH = 2000
# Of each kind of event the newest of every partition, and the newest outcome of every check.
_OLD_RUNS: LiteralString = """
    WITH needed AS (
        SELECT run_id FROM event_logs WHERE id IN (
            SELECT max(id) FROM event_logs
            WHERE asset_key IS NOT NULL
              AND dagster_event_type IN ('ASSET_MATERIALIZATION', 'ASSET_OBSERVATION',
                                         'ASSET_MATERIALIZATION_PLANNED', 'ASSET_FAILED_TO_MATERIALIZE')
            GROUP BY asset_key, dagster_event_type, partition)
        UNION
        SELECT run_id FROM asset_check_executions WHERE id IN (
            SELECT max(id) FROM asset_check_executions GROUP BY asset_key, check_name, partition)
    )
    SELECT r.run_id, EXISTS (SELECT FROM needed n WHERE n.run_id = r.run_id)
    FROM runs r
    WHERE r.status IN ('SUCCESS', 'FAILURE', 'CANCELED')
      AND coalesce(to_timestamp(r.end_time), r.update_timestamp AT TIME ZONE 'UTC') < %s
    ORDER BY r.id"""
_OLD_REPORTS: LiteralString = """
    SELECT e.id FROM event_logs e
    WHERE e.run_id = '' AND e.asset_key IS NOT NULL AND e.timestamp < %s
      AND EXISTS (SELECT FROM event_logs later
                  WHERE later.asset_key = e.asset_key AND later.dagster_event_type = e.dagster_event_type
                    AND later.partition IS NOT DISTINCT FROM e.partition AND later.id > e.id)"""
_OLD_CHECKS: LiteralString = """
    SELECT c.id FROM asset_check_executions c
    WHERE c.evaluation_event_timestamp < %s AND NOT EXISTS (SELECT FROM runs r WHERE r.run_id = c.run_id)
      AND EXISTS (SELECT FROM asset_check_executions later
                  WHERE later.asset_key = c.asset_key AND later.check_name = c.check_name
                    AND later.partition IS NOT DISTINCT FROM c.partition AND later.id > c.id)"""


@dataclass(frozen=True)
class OldRuns:
    """Finished runs that ended before a moment: those that nothing needs, and how many are kept as the newest word."""

    superseded: tuple[str, ...]
    needed: int


def find_old_runs(url: str, before: datetime) -> OldRuns:
    """Return the finished runs that ended before the moment.

    Raises:
        RegistryError: the database does not answer, or is not Dagster's.
    """
    with _session(url) as connection:
        found = connection.execute(_OLD_RUNS, (before,)).fetchall()
    return OldRuns(tuple(run for run, is_needed in found if not is_needed), sum(needed for _, needed in found))


def count_old_reports(url: str, before: datetime) -> int:
    """Return how many events that were reported without a run a later one of their partition has superseded."""
    counted = psycopg.sql.SQL("SELECT count(*) FROM ({}) old")
    with _session(url) as connection:
        row = connection.execute(counted.format(psycopg.sql.SQL(_OLD_REPORTS)), (_naive(before),)).fetchone()
    return 0 if row is None else int(row[0])


def delete_superseded(url: str, before: datetime) -> int:
    """Delete superseded reports and outcomes of checks, a batch a transaction; return how many rows that were.

    The newest of each partition stays, however old it is.

    Raises:
        RegistryError: the database does not answer.
    """
    deleted = 0
    with _session(url) as connection:
        for query, statements in (
            (
                _OLD_REPORTS,
                (
                    "DELETE FROM asset_event_tags WHERE event_id = ANY (%s)",
                    "DELETE FROM event_logs WHERE id = ANY (%s)",
                ),
            ),
            (_OLD_CHECKS, ("DELETE FROM asset_check_executions WHERE id = ANY (%s)",)),
        ):
            while found := connection.execute(query + " LIMIT %s", (_naive(before), _BATCH)).fetchall():
                ids = [row[0] for row in found]
                with connection.transaction():
                    for statement in statements:
                        connection.execute(statement, (ids,))
                deleted += len(ids)
    return deleted


def give_back_space(url: str) -> None:
    """Let the tables use their dead rows' space again; sessions go on meanwhile.

    Raises:
        RegistryError: the database does not answer.
    """
    with _session(url) as connection:
        for table in measure(url):
            connection.execute(psycopg.sql.SQL("VACUUM (ANALYZE) {}").format(psycopg.sql.Identifier(table.table)))


def measure(url: str) -> tuple[TableSize, ...]:
    """Return the size of every table that grows."""
    return measure_tables(url, TABLES)


@contextmanager
def _session(url: str) -> Iterator[psycopg.Connection[Any]]:
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            connection.execute(psycopg.sql.SQL("SET lock_timeout = {}").format(_LOCK_TIMEOUT))
            yield connection
    except psycopg.Error as error:
        raise registry_error(error) from error


def _naive(moment: datetime) -> datetime:
    """Return the moment as Dagster stores it: UTC without saying so."""
    return moment.astimezone(UTC).replace(tzinfo=None)
