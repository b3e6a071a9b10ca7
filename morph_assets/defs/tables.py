"""Tables as markdown, which the asset pages show."""

from collections.abc import Iterable, Sequence

import dagster as dg


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> dg.MarkdownMetadataValue:
    """Return a table as metadata; None shows as a dash."""
    lines = [_line(columns), _line(["---"] * len(columns)), *(_line(row) for row in rows)]
    return dg.MetadataValue.md("\n".join(lines))


def facts_table(facts: dict[str, object]) -> dg.MarkdownMetadataValue:
    """Return a table of two columns, one row a fact."""
    return table(("fact", "value"), facts.items())


def rounded(value: float) -> float:
    """Return the number with four digits: what was measured has no more."""
    return float(f"{value:.4g}")


def _line(cells: Sequence[object]) -> str:
    return f"| {' | '.join(_cell(cell) for cell in cells)} |"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.4g}"
    return str(value).replace("|", "\\|").replace("\n", " ")
