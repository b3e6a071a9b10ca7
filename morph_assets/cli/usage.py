"""`morph usage`: what builds, storage and deliveries cost."""

import dataclasses
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from morph_assets.cli.moments import parse_moment
from morph_assets.cli.output import print_listing
from morph_assets.cli.platform_session import JsonOption, open_platform


class Group(StrEnum):
    """For whom usage is summed."""

    TENANT = "tenant"
    RUN = "run"
    BLUEPRINT = "blueprint"
    KERNEL = "kernel"


def usage(
    by: Annotated[Group, typer.Option(help="For whom to sum it up.")] = Group.TENANT,
    since: Annotated[
        datetime | None, typer.Option(parser=parse_moment, help="Only what ended later (UTC if no offset).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was used: processor seconds of builds, byte hours of storage, bytes served.

    Example: morph usage --by blueprint --since 2026-11-01
    """
    with open_platform(as_json=as_json) as platform:
        found = platform.show_usage(by=by.value, since=since)
    print_listing([dataclasses.asdict(summed) for summed in found], as_json=as_json)
