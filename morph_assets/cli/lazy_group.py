"""A command group that imports a command only when it runs, so that `morph --help` stays fast."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from morph_assets.cli.commands import COMMANDS
from morph_assets.cli.output import explain_error, print_error
from morph_kernels.errors import MorphError


class LazyGroup(TyperGroup):
    """Lists commands from the table and turns errors into one line on standard error."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # the base class decides the signature
        """Return the names in the order of the table."""
        return [entry.name for entry in COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  # the same
        """Return the command's name and help only: what a listing needs."""
        return next((TyperCommand(e.name, help=e.help) for e in COMMANDS if e.name == cmd_name), None)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the real command, imported now."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, None if command is None else load_command(str(name)), rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; an error ends it with one line and exit status 1, or with a traceback under `--debug`."""
        try:
            return super().invoke(ctx)
        except (MorphError, OSError) as error:
            said = explain_error(error)
            if ctx.params.get("debug") or said is None:
                raise
            print_error(said)
        raise typer.Exit(1)


def load_command(name: str) -> Any:
    """Import one command of the table.

    Raises:
        KeyError: the table has no such command.
    """
    targets = {entry.name: entry.target for entry in COMMANDS}
    module, _, attribute = targets[name].partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        app = found
    else:
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(name)(found)
    command = typer.main.get_command(app)
    command.name = name
    return command
