"""`morph audit`: verify, archive, anchor, logins, export."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from morph_assets.cli.moments import parse_moment
from morph_assets.cli.output import print_json, print_line, print_listing
from morph_assets.cli.platform_session import JsonOption, open_platform

if TYPE_CHECKING:
    from morph_assets.usecases.verify_audit import VerifiedAudit

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The log of everything that happened.")


@app.command()
def verify(
    expect_head: Annotated[
        str | None, typer.Option(metavar="SEQ:HASH", help="A head you remember: the log must still contain it.")
    ] = None,
    since_anchor: Annotated[bool, typer.Option("--since-anchor", help="Begin behind the newest anchor.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Recompute the chains; hold them against anchors, the store's copies and bodies. Exit status 1 if one does not.

    Example: morph audit verify --expect-head 412:9f2c...
    """
    with open_platform(as_json=as_json) as platform:
        verified = platform.verify_audit(expected_head=expect_head, since_anchor=since_anchor)
    if as_json:
        print_json(_verified_document(verified))
    else:
        print_line(f"{verified.events} events, {verified.security_events} refusals, {verified.bodies} bodies:")
        print_line("the log holds" if verified.holds else f"first to break: {verified.first}")
        for finding in verified.findings[1:]:
            print_line(f"then: {finding}")
        print_line(f"{verified.anchors} anchors confirm it up to event {verified.anchored_seq}; not yet anchored:")
        print_line(f"{verified.unanchored.events} events, the oldest for {verified.unanchored.oldest_s:.0f} s")
        if verified.abandoned:
            print_line(f"{verified.abandoned} events of an earlier timeline were lost by a restore")
    if not verified.holds:
        raise typer.Exit(1)


def _verified_document(verified: "VerifiedAudit") -> dict[str, object]:
    return {
        "holds": verified.holds,
        "events": verified.events,
        "security_events": verified.security_events,
        "head": f"{verified.head.seq}:{verified.head.hash.hex()}",
        "first_broken_seq": verified.first_broken_seq,
        "findings": [asdict(finding) for finding in verified.findings],
        "anchors": verified.anchors,
        "anchored_seq": verified.anchored_seq,
        "archived_seq": verified.archived_seq,
        "unanchored_events": verified.unanchored.events,
        "unanchored_s": verified.unanchored.oldest_s,
        "bodies": verified.bodies,
        "abandoned": verified.abandoned,
    }


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
                "waited_s": anchored.waited.oldest_s,
            }
        )
        return
    print_line(f"anchor {anchored.number}{'' if anchored.created else ' covers everything already'}: up to event")
    print_line(f"{anchored.seq}:{anchored.hash.hex()}")
    print_line(f"{anchored.waited.events} events had waited for it, the oldest {anchored.waited.oldest_s:.0f} s")


@app.command()
def logins(
    log: Annotated[Path | None, typer.Option(help="The server's log, where the server is not ours.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Record the failed logins that the database server's log knows of; those told before are left out.

    Example: morph audit logins --log /var/log/postgresql/postgresql.log
    """
    with open_platform(as_json=as_json) as platform:
        recorded = platform.record_failed_logins(log)
    print_listing([asdict(found) for found in recorded], as_json=as_json, columns=("minute", "login", "count"))


@app.command()
def export(
    *,
    after: Annotated[int, typer.Option(min=0, help="Only events after this number.")] = 0,
    types: Annotated[list[str] | None, typer.Option(help="Only events of this type; may be repeated.")] = None,
    since: Annotated[
        datetime | None, typer.Option(parser=parse_moment, help="Only events recorded from then on (UTC if no offset).")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(parser=parse_moment, help="Only events recorded before then (UTC if no offset).")
    ] = None,
    security: Annotated[bool, typer.Option("--security", help="The chain of refusals instead of the log.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the log, oldest event first, one JSON document a line (under --json one array).

    Example: morph audit export --types kernel.revoked --since 2026-01-01 > audit.jsonl
    """
    import json

    from morph_assets.usecases.export_audit import ExportRange

    wanted = ExportRange(after, types, since, until)
    with open_platform(as_json=as_json) as platform:
        events = platform.iter_audit(wanted, chain="security" if security else "log")
        if as_json:
            print_json(list(events))
            return
        for event in events:
            print_line(json.dumps(event))
