"""Reading the design of an ordinary module: the same names, the same numbers, and clear refusals."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from morph_kernels.blueprint import Blueprint, library


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(32, 96)
        self.out = nn.Linear(32, 32)

    def forward(self, x):
        b, s, d = x.shape
        q, k, v = self.qkv(x).view(b, s, 3, 4, -1).permute(2, 0, 3, 1, 4).unbind(0)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(b, s, d))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(32)
        self.attention = Attention()
        self.mlp = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Dropout(0.2), nn.Linear(64, 32))
        self.gain = nn.Parameter(torch.full((32,), 0.5))

    def forward(self, x):
        x = x + self.attention(self.norm(x))
        return x + self.gain * self.mlp(x)


class SqueezeExcite(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding="same", stride=1, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.act = nn.ReLU(inplace=True)
        self.fc = nn.Linear(8, 8)

    def forward(self, x):
        y = self.act(self.bn(self.conv(x)))
        gate = torch.sigmoid(self.fc(y.mean((2, 3))))
        return x + y * gate[:, :, None, None]


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(16, 16)

    def forward(self, x):
        return 1.0 - self.inner(torch.tanh(self.inner(x))) * x.shape[-1] ** -0.5


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(11, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, ids):
        left, right = self.head(self.table(ids)).split([2, 3], dim=-1)
        return left, torch.cat([right, right], dim=-1)


class Halving(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, stride=2, padding=1)

    def forward(self, image):
        y = F.relu(self.conv(image))
        return y.flatten(1)


class Handwritten(nn.Module):
    """Attention and RMSNorm spelled out, with indexing, as people write them."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16)
        self.scale = nn.Parameter(torch.ones(16))

    def forward(self, hidden_states, mask):
        x = hidden_states
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.scale
        q, k, v = (layer(x).view(x.size(0), -1, 2, 8).transpose(1, 2) for layer in (self.q, self.k, self.v))
        scores = (q @ k.transpose(-2, -1)) / math.sqrt(8)
        y = F.softmax(scores + mask, dim=-1) @ v
        y = y.transpose(1, 2).contiguous().flatten(2)
        left, right = torch.chunk(y, 2, dim=-1)
        gated = F.silu(left) * right - 0.5
        return gated[:, 0], F.gelu(gated[:, :, 1:4]).sum(dim=1)


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.norm = nn.GroupNorm(2, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        y = F.avg_pool2d(self.norm(self.stem(x)), 2)
        y = self.pool(y)
        return F.log_softmax(self.head(y.reshape(y.shape[0], -1)), dim=1)


RANGES = {"squeeze_excite": {"height": (2, 32), "width": (2, 32)}}
CASES = {
    "block": (Block(), (torch.randn(3, 5, 32),), {0: {0: "batch", 1: "seq"}}),
    "squeeze_excite": (SqueezeExcite(), (torch.randn(3, 8, 6, 6),), {0: {0: "batch", 2: "height", 3: "width"}}),
    "shared": (Shared(), (torch.randn(3, 16),), {0: {0: "batch"}}),
    "tokens": (Tokens(), (torch.randint(0, 11, (2, 4)),), {0: {0: "batch", 1: "seq"}}),
    "handwritten": (
        Handwritten(),
        (torch.randn(3, 5, 16), torch.randn(5, 5)),
        {0: {0: "batch", 1: "seq"}, 1: {0: "seq", 1: "seq"}},
    ),
    "pooled": (Pooled(), (torch.randn(3, 3, 8, 8),), {0: {0: "batch"}}),
    "halving": (Halving(), (torch.randn(2, 4, 9, 9),), {0: {0: "batch", 2: "height"}}),
    "static": (nn.Sequential(nn.Linear(4, 4), nn.SiLU(), nn.RMSNorm(4)), (torch.randn(2, 4),), None),
}


def _outputs(module, inputs, *, training):
    torch.manual_seed(3)
    found = copy.deepcopy(module).train(training)(*inputs)
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("case", CASES)
def test_the_design_of_a_module_has_its_names_and_computes_what_it_does(case):
    module, inputs, dynamic = CASES[case]
    before = torch.get_rng_state()
    blueprint = Blueprint.from_module(
        module, example_inputs=inputs, name=case, dynamic=dynamic, ranges=RANGES.get(case)
    )
    assert torch.equal(torch.get_rng_state(), before)
    rebuilt = blueprint.build(seed=4)
    assert rebuilt.state_dict().keys() == module.state_dict().keys()
    rebuilt.load_state_dict(module.state_dict())
    for training in (True, False):
        found, expected = (_outputs(m, inputs, training=training) for m in (rebuilt, module))
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert Blueprint.from_bytes(blueprint.to_bytes(), name="other") == blueprint


@pytest.mark.parametrize("case", ["block", "squeeze_excite", "tokens", "halving", "handwritten", "pooled"])
def test_a_design_computes_the_same_at_other_sizes_than_its_example(case):
    module, inputs, dynamic = CASES[case]
    blueprint = Blueprint.from_module(
        module, example_inputs=inputs, name=case, dynamic=dynamic, ranges=RANGES.get(case)
    )
    rebuilt = blueprint.build()
    rebuilt.load_state_dict(module.state_dict())
    others = blueprint.interface.example_inputs(dict.fromkeys(blueprint.interface.symbols, 12), seed=5)
    found, expected = (_outputs(m, others, training=False) for m in (rebuilt, module))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    specs = blueprint.interface.outputs
    assert [tuple(y.shape) for y in expected] == [
        s.sizes(dict.fromkeys(blueprint.interface.symbols, 12)) for s in specs
    ]


@pytest.mark.parametrize("blueprint", library(), ids=lambda b: b.name)
def test_a_built_blueprint_is_read_back_with_the_same_parameters(blueprint):
    """The body of a blueprint takes its inputs as one tuple, which a tracer sees as one input: wrap it by name."""

    class Named(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = blueprint.build()

        def forward(self, x):
            return self.body(x)

    sizes = {symbol: min(6, allowed.max) for symbol, allowed in blueprint.interface.symbols.items()}
    (spec,) = blueprint.interface.inputs
    dynamic = {0: {dim: size for dim, size in enumerate(spec.shape) if isinstance(size, str)}}
    inputs = blueprint.interface.example_inputs(sizes)
    again = Blueprint.from_module(Named(), example_inputs=inputs, name="again", dynamic=dynamic)
    names = [name for name, _ in blueprint.graph.parameters()]
    assert [name for name, _ in again.graph.parameters()] == [f"body.{name}" for name in names]
    assert again.interface.outputs[0].shape == blueprint.interface.outputs[0].shape
