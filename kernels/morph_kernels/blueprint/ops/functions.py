"""Ops that are pure functions of one or two values, element by element, and products and attention."""

from collections.abc import Sequence
from typing import Final

from morph_kernels.blueprint.ops import kinds
from morph_kernels.blueprint.ops.spec import (
    Attributes,
    Op,
    Value,
    axis,
    broadcast,
    floating,
    require,
)

_MATRIX_RANK: Final = 2
_ATTENTION_RANK: Final = 3


def _infer_unary(values: Sequence[Value], _: Attributes) -> Value:
    floating(values)
    return values[0]


def _infer_along(values: Sequence[Value], a: Attributes) -> Value:
    floating(values)
    axis(a["dim"], values[0].rank)
    return values[0]


def _infer_arithmetic(values: Sequence[Value], _: Attributes) -> Value:
    left, right = values
    require(left.dtype == right.dtype, f"dtypes differ: {left.dtype} and {right.dtype}")
    require(left.dtype != "bool", "needs numbers, got bool")
    return Value(left.dtype, broadcast(left.shape, right.shape))


def _infer_division(values: Sequence[Value], a: Attributes) -> Value:
    floating(values)
    return _infer_arithmetic(values, a)


def _infer_matmul(values: Sequence[Value], _: Attributes) -> Value:
    left, right = values
    floating(values)
    require(min(left.rank, right.rank) >= _MATRIX_RANK, "needs two values of at least 2 dimensions")
    fits = left.shape[-1] == right.shape[-2]
    require(fits, f"inner sizes differ: {list(left.shape)} and {list(right.shape)}")
    batch = broadcast(left.shape[:-2], right.shape[:-2])
    return Value(left.dtype, (*batch, left.shape[-2], right.shape[-1]))


def _infer_attention(values: Sequence[Value], a: Attributes) -> Value:
    query, key, value = values[:3]
    floating(values[:3])
    require(min(v.rank for v in values[:3]) >= _ATTENTION_RANK, "needs [..., length, width] of at least 3 dimensions")
    same_batch = query.shape[:-2] == key.shape[:-2] == value.shape[:-2]
    require(same_batch, f"leading sizes differ: {[list(v.shape) for v in values[:3]]}")
    require(query.shape[-1] == key.shape[-1], f"widths differ: query {list(query.shape)}, key {list(key.shape)}")
    require(key.shape[-2] == value.shape[-2], f"lengths differ: key {list(key.shape)}, value {list(value.shape)}")
    scores = (*query.shape[:-1], key.shape[-2])
    for mask in values[3:]:
        require(not a["is_causal"], "takes a mask or is_causal, not both")
        require(mask.dtype != "int64", "needs a bool or float32 mask")
        require(mask.rank >= _MATRIX_RANK, "needs a mask of at least 2 dimensions")
        require(
            broadcast(mask.shape, scores) == scores, f"mask {list(mask.shape)} does not broadcast to {list(scores)}"
        )
    return Value(query.dtype, (*query.shape[:-1], value.shape[-1]))


UNARY: Final = (
    "relu",
    "silu",
    "sigmoid",
    "tanh",
    "softplus",
    "hardswish",
    "mish",
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "square",
    "abs",
    "neg",
)

FUNCTIONS: Final = (
    *(Op(name, _infer_unary) for name in UNARY),
    Op("gelu", _infer_unary, attributes={"approximate": kinds.choice("none", "tanh", default="none")}),
    Op("leaky_relu", _infer_unary, attributes={"negative_slope": kinds.number(default=0.01)}),
    Op("elu", _infer_unary, attributes={"alpha": kinds.number(default=1.0)}),
    Op("softmax", _infer_along, attributes={"dim": kinds.integer(-8, 7)}),
    Op("log_softmax", _infer_along, attributes={"dim": kinds.integer(-8, 7)}),
    Op("add", _infer_arithmetic, (2, 2)),
    Op("sub", _infer_arithmetic, (2, 2)),
    Op("mul", _infer_arithmetic, (2, 2)),
    Op("div", _infer_division, (2, 2)),
    Op("add_scalar", _infer_unary, attributes={"value": kinds.number()}),
    Op("mul_scalar", _infer_unary, attributes={"value": kinds.number()}),
    Op("div_scalar", _infer_unary, attributes={"value": kinds.number()}),
    Op("pow_scalar", _infer_unary, attributes={"value": kinds.number(-16.0, 16.0)}),
    Op("matmul", _infer_matmul, (2, 2)),
    Op(
        "scaled_dot_product_attention",
        _infer_attention,
        (3, 4),
        attributes={"is_causal": kinds.flag(False), "scale": kinds.number(default=None)},
    ),
)
