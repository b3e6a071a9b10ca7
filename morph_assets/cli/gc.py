"""`morph gc`: dagster."""

import dataclasses
from typing import Annotated

import typer

from morph_assets.cli.dagster_instance import enter_dagster
from morph_assets.cli.output import print_json, print_line, print_table, progress_bar
from morph_assets.cli.platform_session import JsonOption, explained_errors

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Delete history that nothing needs any more.")


@app.callback()
def gc() -> None:
    """Delete history that nothing needs any more."""


@app.command()
def dagster(
    keep_days: Annotated[int, typer.Option(min=1, max=36500, help="What ended within so many days stays.")] = 30,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete old runs, their logs, reports and ticks from Dagster, which keeps them for ever.

    The newest materialisation of every partition and the newest outcome of every check stay, however old.

    Example: morph gc dagster --keep-days 14 --dry-run
    """
    from dagster import DagsterInstance

    from morph_assets.usecases.collect_dagster import collect_dagster

    with explained_errors(as_json=as_json):
        url = enter_dagster()
        with DagsterInstance.get() as instance:
            done = collect_dagster(instance, url, progress_bar, keep_days=keep_days, dry_run=dry_run)
    if as_json:
        print_json(dataclasses.asdict(done) | {"dry_run": dry_run, "keep_days": keep_days})
        return
    would = "would go" if dry_run else "are gone"
    print_line(f"{done.deleted_runs} runs and {done.deleted_reports} superseded reports {would}")
    print_line(f"{done.needed} older runs stay: they are the newest word on a partition or a check")
    after = {table.table: table for table in done.after}
    rows = [(b.table, b.rows, after[b.table].rows, b.size_bytes, after[b.table].size_bytes) for b in done.before]
    print_table(("table", "rows before", "rows after", "bytes before", "bytes after"), rows)
