"""What every command that works with the platform needs: a platform, and errors that `--json` can show."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from morph_assets.cli.output import explain_error, print_json
from morph_kernels.errors import MorphError

if TYPE_CHECKING:
    from morph_assets.platform import Platform

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON; also an error, as {error: {...}}.")]


@contextmanager
def open_platform(*, as_json: bool) -> Iterator["Platform"]:
    """Open the platform of the environment; under `--json` an error is a document on standard output too."""
    from morph_assets.platform import Platform

    with explained_errors(as_json=as_json), Platform.connect() as platform:
        yield platform


@contextmanager
def explained_errors(*, as_json: bool) -> Iterator[None]:
    """Under `--json`, print an error as a document on standard output; exit status 1."""
    try:
        yield
    except (MorphError, OSError) as error:
        said = explain_error(error)
        if not as_json or said is None:
            raise
        retryable = isinstance(error, MorphError) and error.retryable
        print_json({"error": {"type": type(error).__name__, "message": said, "retryable": retryable}})
        raise typer.Exit(1) from error
