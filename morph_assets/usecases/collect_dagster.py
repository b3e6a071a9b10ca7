"""Deletes what Dagster keeps for ever: finished runs, reports and ticks that newer ones have superseded."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from morph_assets.config import plain_database_url
from morph_assets.progress import Progress
from morph_assets.registry.dagster_log import (
    count_old_reports,
    delete_superseded,
    find_old_runs,
    give_back_space,
    measure,
)
from morph_assets.registry.databases import TableSize

if TYPE_CHECKING:
    from dagster import DagsterInstance

DEFAULT_KEEP_DAYS = 30


@dataclass(frozen=True)
class CollectedDagster:
    """What was deleted, or under a dry run would be.

    `needed` counts old runs that stay: they are the newest word on a partition or a check.
    """

    deleted_runs: int
    deleted_reports: int
    needed: int
    before: tuple[TableSize, ...]
    after: tuple[TableSize, ...]


def collect_dagster(
    instance: "DagsterInstance",
    database_url: str,
    progress: Progress,
    *,
    keep_days: int = DEFAULT_KEEP_DAYS,
    dry_run: bool = False,
) -> CollectedDagster:
    """Delete the history that ended more than `keep_days` ago.

    Every partition keeps its newest materialisation, observation and attempt with the run they are of, and every check
    its newest outcome, however old: the asset pages and automation see no difference. Safe beside a running daemon, and
    again after a kill.

    Args:
        instance: whose runs, ticks and logs.
        database_url: its database.
        progress: opens a bar, `progress(text, total=)`, which is told `advance(count)`.
        keep_days: at least one.
        dry_run: only count.

    Raises:
        RegistryError: the database does not answer.
        ValueError: `keep_days` is less than one.
    """
    if keep_days < 1:
        raise ValueError("at least one day is kept")
    url = plain_database_url(database_url)
    until, before = datetime.now(UTC) - timedelta(days=keep_days), measure(url)
    old = find_old_runs(url, until)
    if dry_run:
        return CollectedDagster(len(old.superseded), count_old_reports(url, until), old.needed, before, before)
    _delete_runs(instance, old.superseded, progress)
    reports = delete_superseded(url, until)
    _purge_ticks(instance, until)
    give_back_space(url)
    return CollectedDagster(len(old.superseded), reports, old.needed, before, measure(url))


def _delete_runs(instance: "DagsterInstance", run_ids: Sequence[str], progress: Progress) -> None:
    with progress("deleting runs", total=len(run_ids)) as advance:
        for run_id in run_ids:
            instance.compute_log_manager.delete_logs(prefix=[run_id])
            instance.delete_run(run_id)
            advance(1)


def _purge_ticks(instance: "DagsterInstance", until: datetime) -> None:
    """Delete old ticks; each sensor's and schedule's newest stays, it says where to go on."""
    for state in instance.all_instigator_state():
        newest = instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
        if newest:
            moment = min(until.timestamp(), newest[0].timestamp)
            instance.purge_ticks(state.instigator_origin_id, state.selector_id, before=moment)
