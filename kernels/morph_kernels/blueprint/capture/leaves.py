"""How a `torch.nn` leaf is read: the op it is, and its attributes."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from torch import nn

from morph_kernels.blueprint.capture.recorder import Recorder

Reader = Callable[[Recorder, Any], dict[str, Any]]


def _read(*names: str) -> Reader:
    return lambda _, leaf: {name: getattr(leaf, name) for name in names}


def _conv(recorder: Recorder, leaf: Any) -> dict[str, Any]:
    _only(recorder, leaf, padding_mode="zeros")
    found = _read("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
    attributes = found(recorder, leaf)
    if isinstance(leaf.padding, str):
        attributes["padding"] = _named_padding(recorder, leaf)
    return attributes | {"bias": leaf.bias is not None}


def _named_padding(recorder: Recorder, leaf: Any) -> list[int]:
    if leaf.padding == "valid":
        return [0] * len(leaf.kernel_size)
    total = [d * (k - 1) for k, d in zip(leaf.kernel_size, leaf.dilation, strict=True)]
    if any(size % 2 for size in total):
        recorder.refuse("padding 'same' needs an odd window; pad by numbers")
    return [size // 2 for size in total]


def _batch_norm(recorder: Recorder, leaf: Any) -> dict[str, Any]:
    _only(recorder, leaf, track_running_stats=True)
    if leaf.momentum is None:
        recorder.refuse("momentum None is not supported; give a number")
    return _read("num_features", "eps", "momentum", "affine")(recorder, leaf)


def _trailing_norm(_: Recorder, leaf: Any) -> dict[str, Any]:
    found = {"normalized_shape": list(leaf.normalized_shape), "elementwise_affine": leaf.elementwise_affine}
    if leaf.eps is not None:
        found["eps"] = leaf.eps
    lacks_bias = isinstance(leaf, nn.LayerNorm) and leaf.elementwise_affine and leaf.bias is None
    return found | ({"bias": False} if lacks_bias else {})


def _embedding(recorder: Recorder, leaf: Any) -> dict[str, Any]:
    _only(recorder, leaf, padding_idx=None, max_norm=None, scale_grad_by_freq=False, sparse=False)
    return _read("num_embeddings", "embedding_dim")(recorder, leaf)


def _pool(recorder: Recorder, leaf: Any) -> dict[str, Any]:
    _only(recorder, leaf, ceil_mode=False)
    if isinstance(leaf, nn.MaxPool2d):
        _only(recorder, leaf, dilation=1, return_indices=False)
    else:
        _only(recorder, leaf, count_include_pad=True, divisor_override=None)
    return _read("kernel_size", "stride", "padding")(recorder, leaf)


def _softplus(recorder: Recorder, leaf: Any) -> dict[str, Any]:
    _only(recorder, leaf, beta=1, threshold=20)
    return {}


def _softmax(recorder: Recorder, leaf: Any) -> dict[str, Any]:
    if leaf.dim is None:
        recorder.refuse("needs a dim")
    return {"dim": leaf.dim}


def _only(recorder: Recorder, leaf: Any, **wanted: Any) -> None:
    """Refuse a leaf with settings that the IR has no word for."""
    for name, value in wanted.items():
        if getattr(leaf, name) != value:
            recorder.refuse(f"{name}={getattr(leaf, name)!r} is not supported; allowed: {value!r}")


# The exact classes: a subclass may compute anything.
OWNING: Final[Mapping[type[nn.Module], tuple[str, Reader]]] = {
    nn.Linear: (
        "linear",
        lambda _, leaf: {
            "in_features": leaf.in_features,
            "out_features": leaf.out_features,
            "bias": leaf.bias is not None,
        },
    ),
    nn.Conv1d: ("conv1d", _conv),
    nn.Conv2d: ("conv2d", _conv),
    nn.BatchNorm1d: ("batch_norm1d", _batch_norm),
    nn.BatchNorm2d: ("batch_norm2d", _batch_norm),
    nn.GroupNorm: ("group_norm", _read("num_groups", "num_channels", "eps", "affine")),
    nn.LayerNorm: ("layer_norm", _trailing_norm),
    nn.RMSNorm: ("rms_norm", _trailing_norm),
    nn.Embedding: ("embedding", _embedding),
    nn.Dropout: ("dropout", _read("p")),
}
STATELESS: Final[Mapping[type[nn.Module], tuple[str, Reader]]] = {
    nn.ReLU: ("relu", _read()),
    nn.SiLU: ("silu", _read()),
    nn.Sigmoid: ("sigmoid", _read()),
    nn.Tanh: ("tanh", _read()),
    nn.Hardswish: ("hardswish", _read()),
    nn.Mish: ("mish", _read()),
    nn.Softplus: ("softplus", _softplus),
    nn.GELU: ("gelu", _read("approximate")),
    nn.LeakyReLU: ("leaky_relu", _read("negative_slope")),
    nn.ELU: ("elu", _read("alpha")),
    nn.Softmax: ("softmax", _softmax),
    nn.LogSoftmax: ("log_softmax", _softmax),
    nn.Flatten: ("flatten", _read("start_dim", "end_dim")),
    nn.AvgPool2d: ("avg_pool2d", _pool),
    nn.MaxPool2d: ("max_pool2d", _pool),
    nn.AdaptiveAvgPool2d: ("adaptive_avg_pool2d", _read("output_size")),
}
