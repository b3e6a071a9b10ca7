"""Tags that follow from what was measured, beside those that the blueprint's author gave."""

import statistics

from morph_assets.evaluation.measured import Measured
from morph_kernels.artifact.target import Target
from morph_kernels.blueprint import Blueprint

_MOST_TAGS = 64
_MEDIUM_BYTES = 1024**2
_LARGE_BYTES = 64 * 1024**2
# Within a tenth of eager's time is equal: paired medians on a busy machine vary by about that.
_EQUAL = 0.1


def plan_tags(blueprint: Blueprint, target: Target, measured: Measured) -> tuple[str, ...]:
    """Return the kernel's tags: `key:value` where derived, plain words where given; at most 64."""
    derived = [f"device:{target.device}", f"isa:{target.isa}", f"dtype:{target.dtype}", f"mode:{target.mode}"]
    derived += [f"size:{_size(blueprint.parameter_bytes)}"]
    ratio = plan_speed_ratio(measured)
    if ratio is not None:
        derived.append(f"speed:{_speed(ratio)}")
    derived += sorted({f"op:{node.op}" for node in blueprint.graph.nodes})
    return tuple(dict.fromkeys((*blueprint.tags, *derived)))[:_MOST_TAGS]


def plan_speed_ratio(measured: Measured) -> float | None:
    """Return eager step time over compiled step time: the median over the timed sizes and thread counts."""
    ratios = [timing.ratio for timing in measured.timings if timing.direction == "step"]
    return statistics.median(ratios) if ratios else None


def _speed(ratio: float) -> str:
    if ratio > 1 + _EQUAL:
        return "faster"
    return "slower" if ratio < 1 / (1 + _EQUAL) else "equal"


def _size(parameter_bytes: int) -> str:
    if parameter_bytes < _MEDIUM_BYTES:
        return "small"
    return "medium" if parameter_bytes < _LARGE_BYTES else "large"
