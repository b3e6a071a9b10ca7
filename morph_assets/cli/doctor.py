"""`morph doctor`."""

import dataclasses

import typer

from morph_assets.cli.output import print_json, print_table
from morph_assets.cli.services import JsonOption
from morph_assets.config import read_folders


def doctor(as_json: JsonOption = False) -> None:
    """Check this machine and its home folder; exit status 1 if something must be done.

    Example: morph doctor --json
    """
    from morph_assets.usecases.diagnose_machine import diagnose_machine

    findings = diagnose_machine(read_folders())
    if as_json:
        print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        rows = [
            (finding.check, "ok" if finding.ok else "FAILED", finding.detail, "" if finding.ok else finding.advice)
            for finding in findings
        ]
        print_table(("check", "verdict", "found", "what to do"), rows)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)
