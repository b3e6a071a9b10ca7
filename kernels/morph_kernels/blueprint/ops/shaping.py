"""Ops that move, split, join, reduce or pool values without any parameter."""

import math
from collections.abc import Sequence
from itertools import starmap
from typing import Final

from morph_kernels.blueprint.limits import MAX_DIMENSION, MAX_OPERANDS, MAX_RANK
from morph_kernels.blueprint.ops import kinds
from morph_kernels.blueprint.ops.modules import window
from morph_kernels.blueprint.ops.spec import (
    Attribute,
    Attributes,
    Op,
    ShapeProblemError,
    Value,
    axes,
    axis,
    broadcast,
    floating,
    require,
)

_IMAGE_RANK: Final = 4
_WINDOW: Final = 1024


def _dim(default: int | None = None) -> Attribute:
    found = kinds.integer(-MAX_RANK, MAX_RANK - 1)
    return found if default is None else Attribute(found.read, default)


def _dims() -> Attribute:
    return kinds.integers(-MAX_RANK, MAX_RANK - 1)


def _infer_reshape(values: Sequence[Value], a: Attributes) -> Value:
    (x,) = values
    fits = math.prod(a["shape"]) == x.elements
    require(fits, f"{list(x.shape)} has {x.elements} elements, the shape {list(a['shape'])} {math.prod(a['shape'])}")
    return Value(x.dtype, a["shape"])


def _infer_expand(values: Sequence[Value], a: Attributes) -> Value:
    (x,) = values
    fits = x.rank <= len(a["shape"]) and broadcast(x.shape, a["shape"]) == a["shape"]
    require(fits, f"{list(x.shape)} does not expand to {list(a['shape'])}")
    return Value(x.dtype, a["shape"])


def _infer_permute(values: Sequence[Value], a: Attributes) -> Value:
    (x,) = values
    require(len(a["dims"]) == x.rank, f"needs {x.rank} dims for {list(x.shape)}, got {list(a['dims'])}")
    return Value(x.dtype, tuple(x.shape[dim] for dim in axes(a["dims"], x.rank)))


def _infer_transpose(values: Sequence[Value], a: Attributes) -> Value:
    (x,) = values
    first, second = axis(a["dim0"], x.rank), axis(a["dim1"], x.rank)
    shape = list(x.shape)
    shape[first], shape[second] = shape[second], shape[first]
    return Value(x.dtype, tuple(shape))


def _infer_flatten(values: Sequence[Value], a: Attributes) -> Value:
    (x,) = values
    first, last = axis(a["start_dim"], x.rank), axis(a["end_dim"], x.rank)
    require(first <= last, f"start_dim {a['start_dim']} comes after end_dim {a['end_dim']}")
    return Value(x.dtype, (*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


def _infer_unsqueeze(values: Sequence[Value], a: Attributes) -> Value:
    (x,) = values
    at = axis(a["dim"], x.rank + 1)
    return Value(x.dtype, (*x.shape[:at], 1, *x.shape[at:]))


def _infer_squeeze(values: Sequence[Value], a: Attributes) -> Value:
    (x,) = values
    at = axis(a["dim"], x.rank)
    require(x.shape[at] == 1, f"dimension {a['dim']} of {list(x.shape)} is not 1")
    return Value(x.dtype, (*x.shape[:at], *x.shape[at + 1 :]))


def _infer_cat(values: Sequence[Value], a: Attributes) -> Value:
    first = values[0]
    at = axis(a["dim"], first.rank)
    for other in values[1:]:
        fits = (other.dtype, other.rank) == (first.dtype, first.rank)
        fits = fits and _without(other, at) == _without(first, at)
        require(fits, f"{list(other.shape)} does not join {list(first.shape)} along dimension {a['dim']}")
    return Value(first.dtype, (*first.shape[:at], sum(v.shape[at] for v in values), *first.shape[at + 1 :]))


def _without(value: Value, at: int) -> tuple[int, ...]:
    return (*value.shape[:at], *value.shape[at + 1 :])


def _infer_chunk(values: Sequence[Value], a: Attributes) -> tuple[Value, ...]:
    (x,) = values
    at = axis(a["dim"], x.rank)
    require(x.shape[at] % a["chunks"] == 0, f"{list(x.shape)} does not split evenly into {a['chunks']}")
    part = Value(x.dtype, (*x.shape[:at], x.shape[at] // a["chunks"], *x.shape[at + 1 :]))
    return tuple(part for _ in range(a["chunks"]))


def _infer_split(values: Sequence[Value], a: Attributes) -> tuple[Value, ...]:
    (x,) = values
    at = axis(a["dim"], x.rank)
    require(sum(a["sizes"]) == x.shape[at], f"sizes {list(a['sizes'])} do not add up to {x.shape[at]}")
    return tuple(Value(x.dtype, (*x.shape[:at], size, *x.shape[at + 1 :])) for size in a["sizes"])


def _infer_narrow(values: Sequence[Value], a: Attributes) -> Value:
    (x,) = values
    at = axis(a["dim"], x.rank)
    fits = a["start"] + a["length"] <= x.shape[at]
    require(fits, f"{a['length']} from {a['start']} is outside dimension {a['dim']} of {list(x.shape)}")
    return Value(x.dtype, (*x.shape[:at], a["length"], *x.shape[at + 1 :]))


def _infer_getitem(_: Sequence[Value], __: Attributes) -> Value:
    raise ShapeProblemError("needs the result of chunk or split")


def _infer_reduction(values: Sequence[Value], a: Attributes) -> Value:
    (x,) = values
    floating(values)
    gone = axes(a["dims"], x.rank)
    kept = [1 if at in gone else size for at, size in enumerate(x.shape) if a["keepdim"] or at not in gone]
    return Value(x.dtype, tuple(kept))


def _image(values: Sequence[Value]) -> Value:
    floating(values)
    require(values[0].rank == _IMAGE_RANK, f"needs [batch, channels, height, width], got {list(values[0].shape)}")
    return values[0]


def _infer_pool(values: Sequence[Value], a: Attributes) -> Value:
    x = _image(values)
    return Value(x.dtype, (*x.shape[:2], *window(x.shape[2:], a)))


def _check_pool(a: Attributes) -> None:
    fits = all(starmap(lambda k, p: 2 * p <= k, zip(a["kernel_size"], a["padding"], strict=True)))
    require(fits, f"padding {list(a['padding'])} is more than half of the kernel {list(a['kernel_size'])}")


def _infer_adaptive_pool(values: Sequence[Value], a: Attributes) -> Value:
    x = _image(values)
    return Value(x.dtype, (*x.shape[:2], *a["output_size"]))


def _pool(name: str) -> Op:
    attributes = {
        "kernel_size": kinds.repeated(2, 1, _WINDOW),
        "stride": kinds.repeated(2, 1, _WINDOW),
        "padding": kinds.repeated(2, 0, _WINDOW, (0, 0)),
    }
    return Op(name, _infer_pool, attributes=attributes, check=_check_pool)


def _reduction(name: str) -> Op:
    return Op(name, _infer_reduction, attributes={"dims": _dims(), "keepdim": kinds.flag(False)})


SHAPING: Final = (
    Op("reshape", _infer_reshape, attributes={"shape": kinds.shape()}),
    Op("expand", _infer_expand, attributes={"shape": kinds.shape()}),
    Op("permute", _infer_permute, attributes={"dims": _dims()}),
    Op("transpose", _infer_transpose, attributes={"dim0": _dim(), "dim1": _dim()}),
    Op("flatten", _infer_flatten, attributes={"start_dim": _dim(0), "end_dim": _dim(-1)}),
    Op("unsqueeze", _infer_unsqueeze, attributes={"dim": _dim()}),
    Op("squeeze", _infer_squeeze, attributes={"dim": _dim()}),
    Op("cat", _infer_cat, (1, MAX_OPERANDS), attributes={"dim": _dim()}),
    Op("chunk", _infer_chunk, attributes={"chunks": kinds.integer(1, MAX_OPERANDS), "dim": _dim()}),
    Op(
        "split",
        _infer_split,
        attributes={"sizes": kinds.integers(1, MAX_DIMENSION, longest=MAX_OPERANDS), "dim": _dim()},
    ),
    Op("getitem", _infer_getitem, attributes={"index": kinds.integer(0, MAX_OPERANDS - 1)}),
    Op(
        "narrow",
        _infer_narrow,
        attributes={"dim": _dim(), "start": kinds.integer(0), "length": kinds.integer(1)},
    ),
    _reduction("mean"),
    _reduction("sum"),
    _reduction("amax"),
    _pool("avg_pool2d"),
    _pool("max_pool2d"),
    Op("adaptive_avg_pool2d", _infer_adaptive_pool, attributes={"output_size": kinds.repeated(2, 1, _WINDOW)}),
)
