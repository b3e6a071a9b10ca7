"""`morph registry`: check, rebuild."""

import dataclasses

import typer

from morph_assets.cli.output import print_json, print_line, print_listing, progress_bar
from morph_assets.cli.platform_session import JsonOption, explained_errors, open_platform
from morph_assets.config import read_folders

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The registry itself: whole, or written anew.")


@app.command()
def check(as_json: JsonOption = False) -> None:
    """Repeat the whole log and compare the outcome with the tables; exit status 1 where they differ.

    Example: morph registry check
    """
    with open_platform(as_json=as_json) as platform:
        found = platform.check_registry()
    differences = [dataclasses.asdict(difference) for difference in found.differences]
    if as_json:
        print_json({"events": found.seq, "rows": found.rows, "differences": differences})
    elif differences:
        print_listing(differences, as_json=False, title="rows that the log tells otherwise")
    else:
        print_line(f"{found.seq} events make {found.rows} rows: the tables hold exactly them")
    if differences:
        raise typer.Exit(1)


@app.command()
def rebuild(as_json: JsonOption = False) -> None:
    """Write a lost registry anew from the object store, into one in which nothing happened yet.

    What was acknowledged is there again: the archived log, and checkpoints whose commit records came after it. A new
    timeline begins, as after `morph restore`, and every index is published anew.

    Example: morph up && morph registry rebuild
    """
    from morph_assets.connections import Connections
    from morph_assets.usecases.find_operator_access import find_operator_access
    from morph_assets.usecases.rebuild_registry import rebuild_registry
    from morph_assets.usecases.relay_indexes import relay_indexes

    with explained_errors(as_json=as_json), Connections.open() as connections:
        access = find_operator_access(read_folders())
        done = rebuild_registry(connections, access, progress_bar)
        published = relay_indexes(connections).names
    if as_json:
        print_json(dataclasses.asdict(done) | {"published": list(published)})
        return
    print_line(f"{done.events} events make {done.rows} rows; timeline {done.timeline} begins")
    print_line(f"{len(done.recovered)} checkpoints were committed again, {len(published)} indexes published anew")
    for key in done.given_up:
        print_line(f"{key} belongs to a timeline that a restore gave up")
    for record in done.refused:
        print_line(f"{record.key} was not believed: {record.why}")
