"""`morph audit`: verify, export."""

from typing import Annotated

import typer

from morph_assets.cli.output import print_json, print_line
from morph_assets.cli.platform_session import JsonOption, open_platform

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The log of everything that happened.")


@app.command()
def verify(as_json: JsonOption = False) -> None:
    """Recompute the hash chain of the log; exit status 1 where it does not hold.

    Example: morph audit verify
    """
    with open_platform(as_json=as_json) as platform:
        verified = platform.verify_audit()
    if as_json:
        print_json({"holds": verified.holds, "events": verified.events, "first_broken_seq": verified.first_broken_seq})
    elif verified.holds:
        print_line(f"{verified.events} events, the chain holds")
    else:
        print_line(f"{verified.events} events, the chain breaks at event {verified.first_broken_seq}")
    if not verified.holds:
        raise typer.Exit(1)


@app.command()
def export(
    after: Annotated[int, typer.Option(min=0, help="Only events after this number.")] = 0, as_json: JsonOption = False
) -> None:
    """Print the log, oldest event first, one JSON document a line (under --json one array).

    Example: morph audit export --after 100 > audit.jsonl
    """
    import json

    with open_platform(as_json=as_json) as platform:
        events = platform.iter_audit(after)
        if as_json:
            print_json(list(events))
            return
        for event in events:
            print_line(json.dumps(event))
