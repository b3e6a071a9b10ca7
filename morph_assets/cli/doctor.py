"""`morph doctor`."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from morph_assets.cli.output import print_json, print_table
from morph_assets.cli.platform_session import JsonOption, explained_errors
from morph_assets.config import read_folders

if TYPE_CHECKING:
    from morph_assets.usecases.diagnose_machine import Finding


def doctor(
    refs: Annotated[list[str] | None, typer.Argument(help="With --cache: what to load; all that is published.")] = None,
    cache: Annotated[bool, typer.Option("--cache", help="Check this host's cache instead, by loading.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check this machine and its home folder; exit status 1 if something must be done.

    With --cache it asks all that a training job asks and loads each kernel twice: a cache that is installed and saves
    nothing is found, with what to do about it. That needs no database.

    Example: morph doctor --cache --json
    """
    with explained_errors(as_json=as_json):
        findings = _diagnose(refs or [], cache=cache)
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


def _diagnose(refs: list[str], *, cache: bool) -> "tuple[Finding, ...]":
    if cache:
        from morph_assets.usecases.diagnose_cache import diagnose_cache
        from morph_kernels.settings import read_settings

        return diagnose_cache(read_settings(), refs)
    from morph_assets.usecases.diagnose_machine import diagnose_machine

    if refs:
        raise typer.BadParameter("refs are loaded with --cache only")
    return diagnose_machine(read_folders())
