"""Ops that are `torch.nn` modules: they own parameters or buffers, or follow train and eval."""

import math
from collections.abc import Sequence
from functools import partial
from typing import Final

from morph_kernels.blueprint.limits import MAX_DIMENSION, MAX_RANK
from morph_kernels.blueprint.ops import kinds
from morph_kernels.blueprint.ops.spec import (
    Attribute,
    Attributes,
    Initialisation,
    Op,
    Slot,
    Value,
    floating,
    require,
)

ZEROS: Final = Initialisation("zeros")
ONES: Final = Initialisation("ones")
_WINDOW: Final = 1024


def within_fan_in(fan_in: int) -> Initialisation:
    """Return torch's default for weights and biases: kaiming_uniform(a=sqrt 5) is uniform within 1/sqrt(fan_in)."""
    bound = 1 / math.sqrt(fan_in)
    return Initialisation("uniform", (-bound, bound))


def _linear_slots(a: Attributes) -> tuple[Slot, ...]:
    fill = within_fan_in(a["in_features"])
    weight = Slot("weight", (a["out_features"], a["in_features"]), fill)
    return (weight, Slot("bias", (a["out_features"],), fill)) if a["bias"] else (weight,)


def _infer_linear(values: Sequence[Value], a: Attributes) -> Value:
    (x,) = values
    floating(values)
    require(x.rank >= 1 and x.shape[-1] == a["in_features"], f"needs last size {a['in_features']}, got {list(x.shape)}")
    return Value(x.dtype, (*x.shape[:-1], a["out_features"]))


def _conv_slots(a: Attributes) -> tuple[Slot, ...]:
    per_group = a["in_channels"] // a["groups"]
    fill = within_fan_in(per_group * math.prod(a["kernel_size"]))
    weight = Slot("weight", (a["out_channels"], per_group, *a["kernel_size"]), fill)
    return (weight, Slot("bias", (a["out_channels"],), fill)) if a["bias"] else (weight,)


def _check_conv(a: Attributes) -> None:
    for channels in ("in_channels", "out_channels"):
        require(a[channels] % a["groups"] == 0, f"{channels} {a[channels]} is not a multiple of groups {a['groups']}")


def window(sizes: Sequence[int], a: Attributes) -> tuple[int, ...]:
    """Return the sizes after a convolution's or a pool's window has moved over them."""
    dilation = a.get("dilation", (1,) * len(sizes))
    rows = zip(sizes, a["kernel_size"], a["stride"], a["padding"], dilation, strict=True)
    found = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in rows)
    require(min(found) >= 1, f"a window of {list(a['kernel_size'])} does not fit sizes {list(sizes)}")
    return found


def _infer_conv(values: Sequence[Value], a: Attributes, *, dims: int) -> Value:
    (x,) = values
    floating(values)
    require(x.rank == dims + 2, f"needs {dims + 2} dimensions, got {list(x.shape)}")
    require(x.shape[1] == a["in_channels"], f"needs {a['in_channels']} channels, got {list(x.shape)}")
    return Value(x.dtype, (x.shape[0], a["out_channels"], *window(x.shape[2:], a)))


def _conv(dims: int) -> Op:
    return Op(
        f"conv{dims}d",
        partial(_infer_conv, dims=dims),
        attributes={
            "in_channels": kinds.integer(1),
            "out_channels": kinds.integer(1),
            "kernel_size": kinds.repeated(dims, 1, _WINDOW),
            "stride": kinds.repeated(dims, 1, _WINDOW, (1,) * dims),
            "padding": kinds.repeated(dims, 0, _WINDOW, (0,) * dims),
            "dilation": kinds.repeated(dims, 1, _WINDOW, (1,) * dims),
            "groups": kinds.integer(1, default=1),
            "bias": kinds.flag(True),
        },
        is_module=True,
        parameters=_conv_slots,
        check=_check_conv,
    )


def _affine(shape: tuple[int, ...], *, weight: bool, bias: bool) -> tuple[Slot, ...]:
    slots = (Slot("weight", shape, ONES) if weight else None, Slot("bias", shape, ZEROS) if weight and bias else None)
    return tuple(slot for slot in slots if slot is not None)


def _running_statistics(a: Attributes) -> tuple[Slot, ...]:
    shape = (a["num_features"],)
    counter = Slot("num_batches_tracked", (), ZEROS, "int64")
    return (Slot("running_mean", shape, ZEROS), Slot("running_var", shape, ONES), counter)


def _infer_batch_norm(values: Sequence[Value], a: Attributes, *, ranks: tuple[int, ...]) -> Value:
    (x,) = values
    floating(values)
    require(x.rank in ranks, f"needs {' or '.join(map(str, ranks))} dimensions, got {list(x.shape)}")
    require(x.shape[1] == a["num_features"], f"needs {a['num_features']} channels, got {list(x.shape)}")
    many = x.elements > x.shape[1]
    require(many, f"needs more than one value a channel to train, got {list(x.shape)}: raise a symbol's least size")
    return x


def _batch_norm(name: str, *ranks: int) -> Op:
    return Op(
        name,
        partial(_infer_batch_norm, ranks=ranks),
        attributes={
            "num_features": kinds.integer(1),
            "eps": kinds.number(1e-12, 1.0, 1e-5),
            "momentum": kinds.number(0.0, 1.0, 0.1),
            "affine": kinds.flag(True),
        },
        is_module=True,
        parameters=lambda a: _affine((a["num_features"],), weight=a["affine"], bias=True),
        buffers=_running_statistics,
    )


def _check_group_norm(a: Attributes) -> None:
    fits = a["num_channels"] % a["num_groups"] == 0
    require(fits, f"num_channels {a['num_channels']} is not a multiple of num_groups {a['num_groups']}")


def _infer_group_norm(values: Sequence[Value], a: Attributes) -> Value:
    (x,) = values
    floating(values)
    fits = x.rank >= 2 and x.shape[1] == a["num_channels"]  # noqa: PLR2004  batch and channels
    require(fits, f"needs [batch, {a['num_channels']}, ...], got {list(x.shape)}")
    many = x.elements > a["num_groups"]
    require(many, f"needs more than one value a group, got {list(x.shape)}: raise a symbol's least size")
    return x


def _infer_trailing_norm(values: Sequence[Value], a: Attributes) -> Value:
    (x,) = values
    floating(values)
    wanted = a["normalized_shape"]
    require(x.shape[-len(wanted) :] == wanted, f"needs last sizes {list(wanted)}, got {list(x.shape)}")
    return x


def _normalized_shape() -> Attribute:
    return kinds.integers(1, MAX_DIMENSION, fewest=1, longest=MAX_RANK)


def _infer_embedding(values: Sequence[Value], a: Attributes) -> Value:
    (x,) = values
    require(x.dtype == "int64", f"needs int64 indices, got {x.dtype}")
    return Value("float32", (*x.shape, a["embedding_dim"]))


def _infer_dropout(values: Sequence[Value], _: Attributes) -> Value:
    floating(values)
    return values[0]


MODULES: Final = (
    Op(
        "linear",
        _infer_linear,
        attributes={"in_features": kinds.integer(1), "out_features": kinds.integer(1), "bias": kinds.flag(True)},
        is_module=True,
        parameters=_linear_slots,
    ),
    _conv(1),
    _conv(2),
    _batch_norm("batch_norm1d", 2, 3),
    _batch_norm("batch_norm2d", 4),
    Op(
        "group_norm",
        _infer_group_norm,
        attributes={
            "num_groups": kinds.integer(1),
            "num_channels": kinds.integer(1),
            "eps": kinds.number(1e-12, 1.0, 1e-5),
            "affine": kinds.flag(True),
        },
        is_module=True,
        parameters=lambda a: _affine((a["num_channels"],), weight=a["affine"], bias=True),
        check=_check_group_norm,
    ),
    Op(
        "layer_norm",
        _infer_trailing_norm,
        attributes={
            "normalized_shape": _normalized_shape(),
            "eps": kinds.number(1e-12, 1.0, 1e-5),
            "elementwise_affine": kinds.flag(True),
            "bias": kinds.flag(True),
        },
        is_module=True,
        parameters=lambda a: _affine(a["normalized_shape"], weight=a["elementwise_affine"], bias=a["bias"]),
    ),
    Op(
        "rms_norm",
        _infer_trailing_norm,
        attributes={
            "normalized_shape": _normalized_shape(),
            "eps": kinds.number(1e-12, 1.0, None),  # absent: torch's own, the smallest step of the dtype
            "elementwise_affine": kinds.flag(True),
        },
        is_module=True,
        parameters=lambda a: _affine(a["normalized_shape"], weight=a["elementwise_affine"], bias=False),
    ),
    Op(
        "embedding",
        _infer_embedding,
        attributes={"num_embeddings": kinds.integer(1), "embedding_dim": kinds.integer(1)},
        is_module=True,
        parameters=lambda a: (
            Slot("weight", (a["num_embeddings"], a["embedding_dim"]), Initialisation("normal", (0.0, 1.0))),
        ),
    ),
    Op("dropout", _infer_dropout, attributes={"p": kinds.number(0.0, 1.0, 0.5)}, is_module=True),
)
