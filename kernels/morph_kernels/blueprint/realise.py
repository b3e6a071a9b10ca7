"""How torch carries out each op: the modules it makes on meta, and the functions it calls."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from morph_kernels.blueprint.ops.spec import Attributes

Call = Callable[[Sequence[Any], Attributes], Any]


def _embedding(a: Attributes) -> nn.Module:
    # A given weight skips torch's own filling, which on meta would import torch._dynamo.
    weight = torch.empty(a["num_embeddings"], a["embedding_dim"], device="meta")
    return nn.Embedding(a["num_embeddings"], a["embedding_dim"], _weight=weight)


MODULES: Final[Mapping[str, Callable[[Attributes], nn.Module]]] = {
    "linear": lambda a: nn.Linear(**a, device="meta"),
    "conv1d": lambda a: nn.Conv1d(**a, device="meta"),
    "conv2d": lambda a: nn.Conv2d(**a, device="meta"),
    "batch_norm1d": lambda a: nn.BatchNorm1d(**a, device="meta"),
    "batch_norm2d": lambda a: nn.BatchNorm2d(**a, device="meta"),
    "group_norm": lambda a: nn.GroupNorm(**a, device="meta"),
    "layer_norm": lambda a: nn.LayerNorm(**{**a, "normalized_shape": list(a["normalized_shape"])}, device="meta"),
    "rms_norm": lambda a: nn.RMSNorm(**{**a, "normalized_shape": list(a["normalized_shape"])}, device="meta"),
    "embedding": _embedding,
    "dropout": lambda a: nn.Dropout(**a),
}


def _attention(v: Sequence[Any], a: Attributes) -> Any:
    mask = v[3] if len(v) > 3 else None  # noqa: PLR2004  query, key, value and then the mask
    query, key, value = v[:3]
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=a["is_causal"], scale=a["scale"])


FUNCTIONS: Final[Mapping[str, Call]] = {
    "relu": lambda v, _: F.relu(v[0]),
    "silu": lambda v, _: F.silu(v[0]),
    "sigmoid": lambda v, _: torch.sigmoid(v[0]),
    "tanh": lambda v, _: torch.tanh(v[0]),
    "softplus": lambda v, _: F.softplus(v[0]),
    "hardswish": lambda v, _: F.hardswish(v[0]),
    "mish": lambda v, _: F.mish(v[0]),
    "exp": lambda v, _: torch.exp(v[0]),
    "log": lambda v, _: torch.log(v[0]),
    "sqrt": lambda v, _: torch.sqrt(v[0]),
    "rsqrt": lambda v, _: torch.rsqrt(v[0]),
    "square": lambda v, _: torch.square(v[0]),
    "abs": lambda v, _: torch.abs(v[0]),
    "neg": lambda v, _: torch.neg(v[0]),
    "gelu": lambda v, a: F.gelu(v[0], approximate=a["approximate"]),
    "leaky_relu": lambda v, a: F.leaky_relu(v[0], a["negative_slope"]),
    "elu": lambda v, a: F.elu(v[0], a["alpha"]),
    "softmax": lambda v, a: F.softmax(v[0], dim=a["dim"]),
    "log_softmax": lambda v, a: F.log_softmax(v[0], dim=a["dim"]),
    "add": lambda v, _: v[0] + v[1],
    "sub": lambda v, _: v[0] - v[1],
    "mul": lambda v, _: v[0] * v[1],
    "div": lambda v, _: v[0] / v[1],
    "add_scalar": lambda v, a: v[0] + a["value"],
    "mul_scalar": lambda v, a: v[0] * a["value"],
    "div_scalar": lambda v, a: v[0] / a["value"],
    "pow_scalar": lambda v, a: v[0] ** a["value"],
    "matmul": lambda v, _: torch.matmul(v[0], v[1]),
    "scaled_dot_product_attention": _attention,
    "reshape": lambda v, a: v[0].reshape(a["shape"]),
    "expand": lambda v, a: v[0].expand(a["shape"]),
    "permute": lambda v, a: v[0].permute(a["dims"]),
    "transpose": lambda v, a: v[0].transpose(a["dim0"], a["dim1"]),
    "flatten": lambda v, a: v[0].flatten(a["start_dim"], a["end_dim"]),
    "unsqueeze": lambda v, a: v[0].unsqueeze(a["dim"]),
    "squeeze": lambda v, a: v[0].squeeze(a["dim"]),
    "cat": lambda v, a: torch.cat(tuple(v), dim=a["dim"]),
    "chunk": lambda v, a: v[0].chunk(a["chunks"], dim=a["dim"]),
    "split": lambda v, a: v[0].split(list(a["sizes"]), dim=a["dim"]),
    "getitem": lambda v, a: v[0][a["index"]],
    "narrow": lambda v, a: v[0].narrow(a["dim"], a["start"], a["length"]),
    "mean": lambda v, a: v[0].mean(a["dims"], keepdim=a["keepdim"]),
    "sum": lambda v, a: v[0].sum(a["dims"], keepdim=a["keepdim"]),
    "amax": lambda v, a: v[0].amax(a["dims"], keepdim=a["keepdim"]),
    "avg_pool2d": lambda v, a: F.avg_pool2d(v[0], a["kernel_size"], a["stride"], a["padding"]),
    "max_pool2d": lambda v, a: F.max_pool2d(v[0], a["kernel_size"], a["stride"], a["padding"]),
    "adaptive_avg_pool2d": lambda v, a: F.adaptive_avg_pool2d(v[0], a["output_size"]),
}
