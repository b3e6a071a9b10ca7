"""`morph lineage`: show, impact."""

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from morph_assets.cli.moments import parse_moment
from morph_assets.cli.output import print_json, print_line, print_listing
from morph_assets.cli.platform_session import JsonOption, open_platform

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Where things came from, and what needs them.")
WhatArgument = Annotated[
    str, typer.Argument(help="A kernel (digest, name, name@production), or blueprint/, checkpoint/, run/, report/ID.")
]
_COLUMNS = ("direction", "depth", "source", "relation", "target", "since_seq")


@app.command()
def show(
    what: WhatArgument,
    as_of: Annotated[
        str | None,
        typer.Option(metavar="SEQ|TIME", help="As it was after an event, or at a moment (UTC, or with offset)."),
    ] = None,
    depth: Annotated[int, typer.Option(min=1, max=32, help="How many steps away.")] = 6,
    svg: Annotated[Path | None, typer.Option(help="Also draw it into this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what something came from and what came of it.

    Example: morph lineage show ffn_gelu@production --as-of 2026-11-23T14:02 --svg lineage.svg
    """
    with open_platform(as_json=as_json) as platform:
        traced = platform.trace(what, as_of=None if as_of is None else _as_of(as_of), max_depth=depth)
    if svg is not None:
        from morph_assets.usecases.draw_lineage import draw_lineage

        svg.write_text(draw_lineage(traced.node, traced.upward, traced.downward), encoding="utf-8")
    if as_json:
        print_json(dataclasses.asdict(traced))
        return
    rows = [
        dataclasses.asdict(edge) | {"direction": direction}
        for direction, edges in (("up", traced.upward), ("down", traced.downward))
        for edge in edges
    ]
    print_listing(rows, as_json=False, columns=_COLUMNS, title=traced.node)


@app.command()
def impact(what: WhatArgument, as_json: JsonOption = False) -> None:
    """Say what breaks if a kernel is revoked: ask before, not after.

    Example: morph lineage impact ffn_gelu@production
    """
    with open_platform(as_json=as_json) as platform:
        found = [dataclasses.asdict(subject) for subject in platform.impact(what)]
    if not found and not as_json:
        print_line(f"nothing needs {what}")
        return
    print_listing(found, as_json=as_json, columns=("kind", "subject", "consequence", "detail"))


def _as_of(text: str) -> int | datetime:
    return int(text) if text.isdecimal() else parse_moment(text)
