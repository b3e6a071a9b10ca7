"""The weekly collection of Dagster's own history."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg

from morph_assets.config import DAGSTER_DATABASE_VARIABLE, read_dagster_database
from morph_assets.defs.failures import explained_failures
from morph_assets.defs.tables import table
from morph_assets.usecases.collect_dagster import DEFAULT_KEEP_DAYS, collect_dagster

_EVERY_SUNDAY = "0 4 * * 0"


class CollectionConfig(dg.Config):
    """How long history is kept."""

    keep_days: int = DEFAULT_KEEP_DAYS
    dry_run: bool = False


@dg.op
def delete_old_history(context: dg.OpExecutionContext, config: CollectionConfig) -> None:
    """Delete finished runs, reports and ticks that newer ones have superseded."""
    url = read_dagster_database()
    if url is None:
        raise dg.Failure(f"{DAGSTER_DATABASE_VARIABLE} is not set", allow_retries=False)

    @contextmanager
    def logged(text: str, *, total: int) -> Iterator[Any]:
        context.log.info("%s: %d", text, total)
        yield lambda *_: None

    with explained_failures():
        done = collect_dagster(context.instance, url, logged, keep_days=config.keep_days, dry_run=config.dry_run)
    after = {size.table: size for size in done.after}
    columns = ("table", "rows before", "rows after", "bytes before", "bytes after")
    rows = [(b.table, b.rows, after[b.table].rows, b.size_bytes, after[b.table].size_bytes) for b in done.before]
    context.add_output_metadata(
        {
            "deleted_runs": done.deleted_runs,
            "deleted_reports": done.deleted_reports,
            "kept_as_newest": done.needed,
            "tables": table(columns, rows),
        }
    )


@dg.job(description="Deletes what Dagster would keep for ever, but nothing that an asset page or automation needs.")
def collect_dagster_history() -> None:
    """Run one collection."""
    delete_old_history()


collect_dagster_weekly = dg.ScheduleDefinition(
    name="collect_dagster_weekly",
    job=collect_dagster_history,
    cron_schedule=_EVERY_SUNDAY,
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Every Sunday at four; switch it on where nobody wants to keep old runs.",
)
