"""The only module that prints: tables, JSON, progress and errors."""

import dataclasses
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from morph_kernels.errors import MorphError

_PIPED_WIDTH = 240  # columns; a pipe has no width, and folded cells cannot be searched


def print_line(text: str = "") -> None:
    """Print one plain line, as it is: no markup, no wrapping."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()  # somebody may follow a log through a pipe


def print_error(text: str) -> None:
    """Print one line on standard error."""
    sys.stderr.write(f"morph: {' '.join(text.split())}\n")


def explain_error(error: Exception) -> str | None:
    """Return what an error says to a person; None where it is the program's own fault and its traceback says more."""
    if isinstance(error, MorphError):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None:
        # A file or folder that somebody named: what cannot be read or written is said like any other error.
        return f"{error.filename}: {error.strerror}"
    return None


def print_json(document: object) -> None:
    """Print a document as JSON; moments become UTC, ISO 8601 with their offset."""
    json.dump(document, sys.stdout, indent=2, default=_plain)
    sys.stdout.write("\n")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """Print a table; None shows as a dash."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        console.width = _PIPED_WIDTH
    console.print(table)


def print_listing(
    records: Sequence[Mapping[str, object]], *, as_json: bool, columns: Sequence[str] = (), title: str | None = None
) -> None:
    """Print records as JSON or as a table of the named columns (all by default)."""
    if as_json:
        print_json([dict(record) for record in records])
        return
    shown = list(columns) or (list(records[0]) if records else [])
    print_table(shown, [[record.get(column) for column in shown] for record in records], title=title)


@contextmanager
def progress_bar(description: str, *, total: int | None = None) -> Iterator[Any]:
    """Show progress on standard error, which keeps standard output parseable; yields `advance(count=1, text=None)`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(description, total=total)

        def advance(count: int = 1, text: str | None = None) -> None:
            progress.update(task, advance=count, description=text or description)

        yield advance


def _cell(value: object) -> str:
    """Return what a table shows of a value: a dash for nothing, words for lists, moments to the second."""
    match value:
        case None | "" | [] | ():
            return "-"
        case list() | tuple():
            return ", ".join(str(item) for item in value)
        case datetime():
            return value.astimezone(UTC).isoformat(sep=" ", timespec="seconds")
    return str(value)


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise TypeError(f"{value!r} has no time zone")
        return value.astimezone(UTC).isoformat()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")
