"""Every shape rule agrees with torch: the same result where torch has one, and a refusal where torch refuses."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from morph_kernels.blueprint.cursor import Cursor, Source
from morph_kernels.blueprint.ops.registry import OPS, PARAMETER
from morph_kernels.blueprint.ops.spec import REQUIRED, ShapeProblemError, Value
from morph_kernels.blueprint.realise import FUNCTIONS, MODULES

X, IMAGE, LINE, Q = (3, 8), (2, 8, 6, 6), (2, 8, 5), (2, 4, 5, 8)
CALLS = [
    ("linear", [X], {"in_features": 8, "out_features": 5}),
    ("linear", [Q], {"in_features": 8, "out_features": 5, "bias": False}),
    ("linear", [X], {"in_features": 7, "out_features": 5}),
    ("conv1d", [LINE], {"in_channels": 8, "out_channels": 4, "kernel_size": 3, "stride": 2}),
    ("conv2d", [IMAGE], {"in_channels": 8, "out_channels": 4, "kernel_size": [3, 5], "padding": [1, 2], "groups": 4}),
    ("conv2d", [IMAGE], {"in_channels": 8, "out_channels": 4, "kernel_size": 3, "dilation": 2, "stride": [1, 2]}),
    ("conv2d", [IMAGE], {"in_channels": 8, "out_channels": 4, "kernel_size": 7}),
    ("conv2d", [LINE], {"in_channels": 8, "out_channels": 4, "kernel_size": 3}),
    ("batch_norm1d", [X], {"num_features": 8}),
    ("batch_norm1d", [(1, 8)], {"num_features": 8}),
    ("batch_norm1d", [LINE], {"num_features": 8, "affine": False}),
    ("batch_norm2d", [IMAGE], {"num_features": 8, "momentum": 0.5}),
    ("batch_norm2d", [(1, 8, 1, 1)], {"num_features": 8}),
    ("batch_norm2d", [IMAGE], {"num_features": 4}),
    ("group_norm", [IMAGE], {"num_groups": 4, "num_channels": 8}),
    ("group_norm", [(1, 8)], {"num_groups": 8, "num_channels": 8}),
    ("group_norm", [IMAGE], {"num_groups": 2, "num_channels": 4}),
    ("layer_norm", [Q], {"normalized_shape": [5, 8]}),
    ("layer_norm", [Q], {"normalized_shape": [8], "bias": False}),
    ("layer_norm", [Q], {"normalized_shape": [5]}),
    ("rms_norm", [Q], {"normalized_shape": [8]}),
    ("rms_norm", [X], {"normalized_shape": [3, 3, 8]}),
    ("dropout", [X], {"p": 0.3}),
    ("softmax", [X], {"dim": -1}),
    ("softmax", [X], {"dim": 2}),
    ("log_softmax", [Q], {"dim": 1}),
    ("gelu", [X], {"approximate": "tanh"}),
    ("leaky_relu", [X], {"negative_slope": 0.2}),
    ("elu", [X], {}),
    ("add", [Q, (5, 1)], {}),
    ("add", [X, (3, 4)], {}),
    ("sub", [(3, 1), (1, 8)], {}),
    ("mul", [X, ()], {}),
    ("div", [X, X], {}),
    ("add_scalar", [X], {"value": 2.5}),
    ("mul_scalar", [X], {"value": -1}),
    ("div_scalar", [X], {"value": 3}),
    ("pow_scalar", [X], {"value": 2}),
    ("matmul", [Q, (8, 3)], {}),
    ("matmul", [Q, (2, 1, 8, 3)], {}),
    ("matmul", [X, X], {}),
    ("matmul", [(3, 4, 8), (2, 8, 3)], {}),
    ("scaled_dot_product_attention", [Q, Q, Q], {"is_causal": True}),
    ("scaled_dot_product_attention", [Q, (2, 4, 7, 8), (2, 4, 7, 3)], {"scale": 0.5}),
    ("scaled_dot_product_attention", [Q, Q, Q, (5, 5)], {}),
    ("scaled_dot_product_attention", [Q, (2, 4, 7, 9), (2, 4, 7, 8)], {}),
    ("scaled_dot_product_attention", [Q, Q, Q, (5, 6)], {}),
    ("reshape", [X], {"shape": [2, 12]}),
    ("reshape", [X], {"shape": [5, 5]}),
    ("expand", [(3, 1)], {"shape": [2, 3, 4]}),
    ("expand", [X], {"shape": [3, 9]}),
    ("permute", [Q], {"dims": [0, 2, 1, -1]}),
    ("permute", [Q], {"dims": [0, 2, 2, 1]}),
    ("permute", [Q], {"dims": [0, 1]}),
    ("transpose", [Q], {"dim0": 1, "dim1": -1}),
    ("transpose", [X], {"dim0": 1, "dim1": 2}),
    ("flatten", [Q], {"start_dim": 1}),
    ("flatten", [Q], {"start_dim": 2, "end_dim": 1}),
    ("unsqueeze", [X], {"dim": -1}),
    ("unsqueeze", [X], {"dim": 3}),
    ("squeeze", [(3, 1, 8)], {"dim": 1}),
    ("cat", [X, (3, 2)], {"dim": 1}),
    ("cat", [X, (4, 2)], {"dim": 1}),
    ("chunk", [X], {"chunks": 4, "dim": 1}),
    ("split", [X], {"sizes": [3, 5], "dim": -1}),
    ("split", [X], {"sizes": [3, 4], "dim": -1}),
    ("narrow", [X], {"dim": 1, "start": 2, "length": 6}),
    ("narrow", [X], {"dim": 1, "start": 3, "length": 6}),
    ("mean", [IMAGE], {"dims": [2, 3]}),
    ("sum", [IMAGE], {"dims": [-1], "keepdim": True}),
    ("amax", [IMAGE], {"dims": [0, 0]}),
    ("avg_pool2d", [IMAGE], {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("max_pool2d", [IMAGE], {"kernel_size": [2, 3], "stride": 2}),
    ("max_pool2d", [IMAGE], {"kernel_size": 7, "stride": 2}),
    ("adaptive_avg_pool2d", [IMAGE], {"output_size": [1, 2]}),
    *((name, [X], {}) for name in (
        "relu", "silu", "sigmoid", "tanh", "softplus", "hardswish", "mish", "exp", "log", "sqrt", "rsqrt", "square",
        "abs", "neg",
    )),
]  # fmt: skip


def _attributes(name, given):
    cursors = {key: Cursor.of(Source(value)) for key, value in given.items()}
    known = OPS[name].attributes
    found = {key: kind.read(cursors[key]) if key in cursors else kind.default for key, kind in known.items()}
    assert REQUIRED not in found.values()
    OPS[name].check(found)
    return found


def _by_torch(name, values, attributes):
    # Really run: on meta, torch lets a softmax over a missing dimension pass.
    tensors = [torch.zeros(shape, dtype=getattr(torch, dtype)) for shape, dtype in values]
    found = (
        MODULES[name](attributes).to_empty(device="cpu")(tensors[0])
        if OPS[name].is_module
        else FUNCTIONS[name](tensors, attributes)
    )
    one = isinstance(found, torch.Tensor)
    parts = tuple(
        Value(str(part.dtype).removeprefix("torch."), tuple(part.shape)) for part in ([found] if one else found)
    )
    return parts[0] if one else parts


@pytest.mark.parametrize(("name", "shapes", "given"), CALLS)
def test_a_shape_rule_says_what_torch_says(name, shapes, given):
    attributes = _attributes(name, given)
    values = [(shape, "float32") for shape in shapes]
    try:
        expected = _by_torch(name, values, attributes)
    except (RuntimeError, ValueError, IndexError):
        with pytest.raises(ShapeProblemError):
            OPS[name].infer([Value("float32", shape) for shape in shapes], attributes)
        return
    assert OPS[name].infer([Value("float32", shape) for shape in shapes], attributes) == expected


@given(
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    name=st.sampled_from(["conv2d", "avg_pool2d", "max_pool2d"]),
)
@settings(max_examples=150, deadline=None)
def test_windows_of_any_size_say_what_torch_says(sizes, kernel, stride, padding, name):
    given_attributes = {"kernel_size": list(kernel), "stride": list(stride), "padding": list(padding)}
    if name == "conv2d":
        given_attributes |= {"in_channels": 2, "out_channels": 2}
    shape = (1, 2, *sizes)
    try:
        attributes = _attributes(name, given_attributes)
        found = OPS[name].infer([Value("float32", shape)], attributes)
    except ShapeProblemError:
        found = None
    kept = {key: tuple(value) if isinstance(value, list) else value for key, value in given_attributes.items()}
    full = {**kept, "dilation": (1, 1), "groups": 1, "bias": True} if name == "conv2d" else kept
    try:
        expected = _by_torch(name, [(shape, "float32")], full)
    except (RuntimeError, ValueError):
        expected = None
    assert found == expected


def test_an_embedding_takes_indices_only():
    attributes = _attributes("embedding", {"num_embeddings": 5, "embedding_dim": 3})
    assert _by_torch("embedding", [((2, 4), "int64")], attributes) == Value("float32", (2, 4, 3))
    assert OPS["embedding"].infer([Value("int64", (2, 4))], attributes) == Value("float32", (2, 4, 3))
    with pytest.raises(ShapeProblemError, match="int64"):
        OPS["embedding"].infer([Value("float32", (2, 4))], attributes)


def test_every_op_is_carried_out_by_torch_and_tried_here():
    realised = MODULES.keys() | FUNCTIONS.keys()
    assert realised == OPS.keys() - {PARAMETER}
    assert {name for name, _, _ in CALLS} == OPS.keys() - {PARAMETER, "embedding", "getitem"}


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.is_module])
def test_the_tensors_of_a_module_op_are_those_of_torch_and_filled_alike(name):
    given_attributes = next((g for n, _, g in CALLS if n == name), {"num_embeddings": 64, "embedding_dim": 32})
    attributes = _attributes(name, given_attributes)
    torch.manual_seed(0)
    own = {**attributes, "normalized_shape": list(attributes.get("normalized_shape", ()))}
    kept = own if "normalized_shape" in attributes else attributes
    module = type(MODULES[name](attributes))(**kept)
    slots = {slot.name: slot for slot in (*OPS[name].parameters(attributes), *OPS[name].buffers(attributes))}
    assert [*module.state_dict()] == [*slots]
    for key, tensor in module.state_dict().items():
        slot = slots[key]
        assert (tuple(tensor.shape), tensor.numel() * tensor.element_size()) == (slot.shape, slot.size_bytes)
        match slot.initialisation.kind, slot.initialisation.arguments:
            case "zeros", _:
                assert not tensor.any()
            case "ones", _:
                assert (tensor == 1).all()
            case "uniform", (low, high):
                assert low <= tensor.min() < tensor.max() <= high
                assert math.isclose(low, -high)
            case "normal", (mean, std):
                assert abs(tensor.mean() - mean) < 0.1
                assert abs(tensor.std() - std) < 0.1
