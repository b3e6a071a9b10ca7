"""Tables as markdown, which the asset pages show."""

from collections.abc import Iterable, Sequence

import dagster as dg


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> dg.MarkdownMetadataValue:
    """Return a table as metadata; None shows as a dash."""
    lines = [_line(columns), _line(["---"] * len(columns)), *(_line(row) for row in rows)]
    return dg.MetadataValue.md("\n".join(lines))


def facts_table(facts: dict[str, object]) -> dg.MarkdownMetadataValue:
    """Return a table of two columns, one row a fact."""
    return table(("", ""), facts.items())


def _line(cells: Sequence[object]) -> str:
    shown = ("-" if cell is None else str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(shown)} |"
