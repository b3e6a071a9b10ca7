"""`morph audit`: verify, archive, anchor, export."""

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
def archive(as_json: JsonOption = False) -> None:
    """Bring what is not yet there of the log into the object store; every command that changes something does it too.

    Example: morph audit archive
    """
    with open_platform(as_json=as_json) as platform:
        archived = platform.archive_audit()
    if as_json:
        print_json(archived)
    else:
        print_line(f"{archived.events} events archived; the store has the log up to event {archived.seq}")


@app.command()
def anchor(as_json: JsonOption = False) -> None:
    """Sign where every chain stands with the auditor's key, and put it into the object store.

    Example: morph audit anchor
    """
    with open_platform(as_json=as_json) as platform:
        anchored = platform.anchor_audit()
    if as_json:
        print_json(
            {
                "number": anchored.number,
                "created": anchored.created,
                "head": f"{anchored.seq}:{anchored.hash.hex()}",
                "waited_events": anchored.waited.events,
                "waited_s": anchored.waited.seconds,
            }
        )
        return
    print_line(f"anchor {anchored.number}{'' if anchored.created else ' covers everything already'}: up to event")
    print_line(f"{anchored.seq}:{anchored.hash.hex()}")
    print_line(f"{anchored.waited.events} events had waited for it, the oldest {anchored.waited.seconds:.0f} s")


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
