"""The `morph` command itself: its options, and nothing a command does."""

from typing import Annotated

import typer

from morph_assets.cli.lazy_group import LazyGroup
from morph_assets.cli.output import print_line

app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None)


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        print_line(version("morph-assets"))
        raise typer.Exit


@app.callback()
def morph(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Compiled kernels, blueprints and checkpoints as verified data assets.

    Example: morph up && morph status
    """


def run() -> None:
    """Run the command line."""
    typer.main.get_command(app)(prog_name="morph")
