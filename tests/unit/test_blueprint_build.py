"""What is built: shared modules, bare parameters, initialisation, several outputs, and that compilers can trace it."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import fx, nn

from morph_kernels.blueprint import Blueprint, BlueprintShapeError, library

SHARED = """
name: shared
symbols: {batch: [1, 8]}
inputs:
  - {name: x, dtype: float32, shape: [batch, 4]}
  - {name: ids, dtype: int64, shape: [batch], below: 5}
outputs:
  - {name: y, dtype: float32, shape: [batch, 4], value: scaled}
  - {name: pair, dtype: float32, shape: ["2*batch", 4], value: both}
nodes:
  - {id: table, op: embedding, inputs: [ids], attributes: {num_embeddings: 7, embedding_dim: 4}}
  - id: inner.map
    op: linear
    inputs: [x]
    attributes: {in_features: 4, out_features: 4}
    initialisation: {weight: {kind: normal, mean: 0.0, std: 0.02}, bias: {kind: constant, value: 0.5}}
  - {id: again, op: linear, inputs: [inner.map], module: inner.map}
  - {id: gain, op: parameter, attributes: {sizes: [4]}, initialisation: {value: {kind: ones}}}
  - {id: scaled, op: mul, inputs: [again, gain]}
  - {id: both, op: cat, inputs: [table, again], attributes: {dim: 0}}
"""


@pytest.fixture
def shared() -> Blueprint:
    return Blueprint.from_yaml(SHARED)


def test_names_come_from_node_ids_and_shared_weights_stand_once(shared):
    module = shared.build(seed=1)
    assert [*module.state_dict()] == ["gain", "table.weight", "inner.map.weight", "inner.map.bias"]
    x, ids = shared.interface.example_inputs({"batch": 3})
    y, pair = module(x, ids)
    twice = module.inner.map(module.inner.map(x))
    assert torch.equal(y, twice * module.gain)
    assert torch.equal(pair, torch.cat([module.table(ids), twice]))


def test_initialisation_is_what_the_document_says(shared):
    module = shared.build(seed=1)
    assert torch.equal(module.gain, torch.ones(4))
    assert torch.equal(module.inner.map.bias, torch.full((4,), 0.5))
    assert 0 < module.inner.map.weight.std() < 0.1


def test_a_parameter_depends_on_its_own_name_and_the_seed_alone(shared):
    shorter = SHARED.replace(
        "    initialisation: {weight: {kind: normal, mean: 0.0, std: 0.02}, bias", "    initialisation: {bias"
    )
    first, second = shared.build(seed=3), Blueprint.from_yaml(shorter).build(seed=3)
    assert torch.equal(first.table.weight, second.table.weight)
    assert not torch.equal(first.inner.map.weight, second.inner.map.weight)


def test_the_default_device_of_the_caller_changes_nothing(shared):
    expected = shared.build(seed=3).state_dict()
    with torch.device("meta"):
        built = shared.build(seed=3).state_dict()
    for name, tensor in expected.items():
        assert torch.equal(built[name], tensor), name


def test_a_wrong_number_of_inputs_is_said(shared):
    with pytest.raises(TypeError, match=r"takes 2 inputs \(x, ids\), got 1"):
        shared.build()(torch.ones(1, 4))


def test_examples_stay_inside_the_interface(shared):
    x, ids = shared.interface.example_inputs({"batch": 8}, seed=2)
    again, _ = shared.interface.example_inputs({"batch": 8}, seed=2)
    other, _ = shared.interface.example_inputs({"batch": 8}, seed=3)
    assert torch.equal(x, again)
    assert not torch.equal(x, other)
    assert 0 <= ids.min() <= ids.max() < 5
    for sizes in ({"batch": 9}, {"batch": 0}, {}):
        with pytest.raises(BlueprintShapeError, match="symbol 'batch'"):
            shared.interface.example_inputs(sizes)


def test_a_replaced_submodule_is_used(shared):
    module = shared.build()
    module.inner.map = nn.Identity()
    x, ids = shared.interface.example_inputs({"batch": 2})
    y, _ = module(x, ids)
    assert torch.equal(y, x * module.gain)


def test_a_copy_shares_no_weights(shared):
    module = shared.build()
    duplicate = copy.deepcopy(module)
    with torch.no_grad():
        duplicate.gain.zero_()
    assert module.gain.sum() == 4


def test_an_interface_can_be_copied_with_the_module_that_carries_it(shared):
    duplicate = copy.deepcopy(shared.interface)
    assert duplicate == shared.interface
    with pytest.raises(TypeError):
        duplicate.symbols["batch"] = None


def _inputs(blueprint, wanted):
    sizes = {name: max(r.min, min(wanted, r.max)) for name, r in blueprint.interface.symbols.items()}
    return blueprint.interface.example_inputs(sizes)


@pytest.mark.parametrize("blueprint", library(), ids=lambda b: b.name)
def test_torch_fx_traces_a_body_that_then_serves_other_sizes(blueprint):
    module = blueprint.build(seed=5).eval()
    traced = fx.symbolic_trace(module)
    for wanted in (2, 5):
        inputs = _inputs(blueprint, wanted)
        assert torch.equal(traced(*inputs), module(*inputs))


def test_torch_export_traces_every_body_with_every_symbol_dynamic():
    """In its own process: exporting imports the compiler, which other tests assert is absent."""
    program = """
import torch
from morph_kernels.blueprint import library
for blueprint in library():
    ranges = blueprint.interface.symbols
    dims = {n: torch.export.Dim(n, min=max(r.min, 2), max=r.max) for n, r in ranges.items()}
    shapes = tuple({i: dims[s] for i, s in enumerate(t.shape) if s in dims} for t in blueprint.interface.inputs)
    module = blueprint.build(seed=5).eval()
    chosen = [{n: min(size, r.max) for n, r in ranges.items()} for size in (5, 7)]
    first, other = (blueprint.interface.example_inputs(sizes) for sizes in chosen)
    exported = torch.export.export(module, first, dynamic_shapes=(shapes,))
    torch.testing.assert_close(exported.module()(*other), module(*other))
    print(blueprint.name)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=240)
    assert done.stdout.split() == [blueprint.name for blueprint in library()]
