"""Reads the times and bytes that a candidate says it measured: its own word, so read strictly."""

import math
from collections.abc import Mapping
from typing import Any, Literal, cast

from morph_assets.evaluation.exchange import GarbledError
from morph_assets.evaluation.measured import Memory, Spread, Timing
from morph_assets.evaluation.samples import Sample

_MOST_ROWS = 100


def parse_memory(document: Mapping[str, Any]) -> Memory:
    """Return what the candidate says about memory, or raise `GarbledError`."""
    memory = document.get("memory")
    if not isinstance(memory, dict):
        raise GarbledError("the result has no memory")
    return Memory(*(_integer(memory, key) for key in ("growth_bytes", "held_bytes", "eager_held_bytes")))


def parse_timings(document: Mapping[str, Any], timed: Mapping[str, Sample]) -> tuple[Timing, ...]:
    """Return the timed rows of samples that were asked for, or raise `GarbledError`."""
    rows = document.get("timings")
    if not isinstance(rows, list) or len(rows) > _MOST_ROWS or not all(isinstance(row, dict) for row in rows):
        raise GarbledError("the result has no timings")
    return tuple(_timing(row, timed) for row in rows)


def _timing(row: Mapping[str, Any], timed: Mapping[str, Sample]) -> Timing:
    sample, direction = row.get("sample"), row.get("direction")
    if not isinstance(sample, str) or sample not in timed or direction not in {"forward", "step"}:
        raise GarbledError("a timed row names no sample that was asked for")
    return Timing(
        sample=sample,
        shape=describe_shape(timed[sample]),
        threads=_integer(row, "threads"),
        direction=cast("Literal['forward', 'step']", direction),
        compiled=_spread(row.get("compiled")),
        eager=_spread(row.get("eager")),
        ratio=_positive(row, "ratio"),
        pairs=_integer(row, "pairs"),
    )


def parse_cpu_s(document: Mapping[str, Any]) -> float:
    """Return the CPU seconds that a child says it took, or raise `GarbledError`."""
    return _positive(document, "cpu_s")


def describe_shape(sample: Sample) -> str:
    """Name the sizes of a sample as a shape class: "batch=33,seq=9"."""
    return ",".join(f"{symbol}={size}" for symbol, size in sorted(sample.sizes.items())) or "fixed"


def _spread(document: Any) -> Spread:
    if not isinstance(document, dict):
        raise GarbledError("a timed row has no spread")
    return Spread(_positive(document, "median"), _positive(document, "least"), _positive(document, "most"))


def _positive(document: Mapping[str, Any], key: str) -> float:
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise GarbledError(f"{key!r} is no positive number")
    return float(value)


def _integer(document: Mapping[str, Any], key: str) -> int:
    value = document.get(key)
    if type(value) is not int or abs(value) > 2**53:
        raise GarbledError(f"{key!r} is no whole number")
    return value
