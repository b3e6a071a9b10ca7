"""A lineage as a picture: nodes in columns, what they came from on the right, drawn as SVG."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from morph_assets.registry.lineage import LineageEdge

_COLUMN_PX: Final = 220
_ROW_PX: Final = 46
_BOX: Final = (190, 30)
_MARGIN_PX: Final = 20
_SHORT: Final = 12
_COLOURS: Final = {
    "blueprint": "#dbeafe",
    "kernel": "#dcfce7",
    "report": "#fef9c3",
    "checkpoint": "#fae8ff",
    "run": "#ffe4e6",
}
MAX_NODES: Final = 60


def draw_lineage(node: str, upward: Sequence[LineageEdge], downward: Sequence[LineageEdge]) -> str:
    """Return an SVG of what the node came from (to its right) and what came of it (to its left).

    A node stands in the column of its least distance. Beyond `MAX_NODES` the farthest are left out, and the picture
    says how many.
    """
    columns = {node: 0}
    for edge in upward:
        columns.setdefault(edge.target, edge.depth)
    for edge in downward:
        columns.setdefault(edge.source, -edge.depth)
    shown = dict(sorted(columns.items(), key=lambda item: (abs(item[1]), item[0]))[:MAX_NODES])
    places = _place(shown)
    width = max(x for x, _ in places.values()) + _BOX[0] + _MARGIN_PX
    height = max(y for _, y in places.values()) + _BOX[1] + 2 * _MARGIN_PX
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        *_lines([*upward, *downward], places),
        *(_box(name, place, is_centre=name == node) for name, place in places.items()),
    ]
    if len(columns) > len(shown):
        parts.append(f'<text x="{_MARGIN_PX}" y="{height - 8}">{len(columns) - len(shown)} more are not drawn</text>')
    return "".join([*parts, "</svg>"])


def _place(columns: dict[str, int]) -> dict[str, tuple[int, int]]:
    first = min(columns.values())
    rows: dict[int, int] = {}
    places = {}
    for name, column in columns.items():
        row = rows.get(column, 0)
        rows[column] = row + 1
        places[name] = (_MARGIN_PX + (column - first) * _COLUMN_PX, _MARGIN_PX + row * _ROW_PX)
    return places


def _lines(edges: Iterable[LineageEdge], places: dict[str, tuple[int, int]]) -> list[str]:
    drawn = []
    for source, relation, target in sorted({(edge.source, edge.relation, edge.target) for edge in edges}):
        if source not in places or target not in places:
            continue
        (x1, y1), (x2, y2) = places[source], places[target]
        start, end = (x1 + _BOX[0], y1 + _BOX[1] // 2), (x2, y2 + _BOX[1] // 2)
        middle = (start[0] + end[0]) // 2
        drawn.append(
            f'<path d="M{start[0]} {start[1]} C{middle} {start[1]} {middle} {end[1]} {end[0]} {end[1]}" '
            f'fill="none" stroke="#94a3b8"><title>{escape(relation)}</title></path>'
        )
    return drawn


def _box(name: str, place: tuple[int, int], *, is_centre: bool) -> str:
    kind, _, identity = name.partition("/")
    x, y = place
    stroke = "#0f172a" if is_centre else "#94a3b8"
    label = identity if kind == "run" else identity[:_SHORT]
    return (
        f'<g><title>{escape(name)}</title><rect x="{x}" y="{y}" width="{_BOX[0]}" height="{_BOX[1]}" rx="5" '
        f'fill="{_COLOURS.get(kind, "#f1f5f9")}" stroke="{stroke}"/>'
        f'<text x="{x + 8}" y="{y + 19}">{escape(kind)} <tspan font-weight="bold">{escape(label)}</tspan></text></g>'
    )
