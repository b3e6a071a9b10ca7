"""The shipped blueprints: their digests, that they build, and that they build alike."""

import copy
import subprocess
import sys

import pytest
import torch

from morph_kernels.blueprint import Blueprint, library, library_paths

GOLDEN = {
    "causal_attention": "35081dc437888343947bbd8fc1e099c58c0b13a97431374978ea9db3d1d46b79",
    "conv_groupnorm": "18589c5e94569ed1bd38fb4bc034dd3bc404d080dab2747960f1fe34bb05858a",
    "conv_residual_batchnorm": "fa7f9f855f722e1b834d1589ddc8f722c390d64b404b3b88861ba79c2ebc399f",
    "depthwise_separable": "025a7f541914c206367767ad3ec28da7ab5aa8a3121b035495d7e8252c96b769",
    "ffn_gelu": "7ecfa85f22ca4c1e90638ecbf02a0a09c0ece0a6dc6014e73cad0ce3c2b59636",
    "squeeze_excite": "2246265161fad5b941d44b76163270f49ceccc5d1a700be775184e47bff82bb0",
    "swiglu_rmsnorm": "3cde3b6d9cd33e535957bf7607d3622ad64dd7d0d91fa703a922f528b46eb22d",
    "transformer_block": "c076c01506ebc393e0b7fdb5c548863c56326376d9abed34f2173ebc5004f4e7",
}
BLUEPRINTS = {blueprint.name: blueprint for blueprint in library()}
each_blueprint = pytest.mark.parametrize("blueprint", BLUEPRINTS.values(), ids=BLUEPRINTS)


def _sizes(blueprint: Blueprint, wanted: int) -> dict[str, int]:
    return {name: max(r.min, min(wanted, r.max)) for name, r in blueprint.interface.symbols.items()}


def test_the_library_holds_the_eight_blocks_that_are_promised():
    assert {path.stem for path in library_paths()} == set(GOLDEN)
    assert [path.stem for path in library_paths()] == [blueprint.name for blueprint in library()]


@each_blueprint
def test_the_digest_of_a_shipped_blueprint_never_changes_by_accident(blueprint):
    assert blueprint.digest == GOLDEN[blueprint.name]


@each_blueprint
def test_canonical_bytes_read_back_are_the_same_blueprint(blueprint):
    again = Blueprint.from_bytes(blueprint.to_bytes(), name=blueprint.name, tags=blueprint.tags)
    assert again == blueprint
    assert again.document == blueprint.document
    assert copy.deepcopy(blueprint) == blueprint


@each_blueprint
@pytest.mark.parametrize("wanted", [1, 3, 7])
def test_a_block_keeps_the_shape_of_its_input_and_trains(blueprint, wanted):
    module = blueprint.build(seed=1)
    (x,) = blueprint.interface.example_inputs(_sizes(blueprint, wanted))
    x.requires_grad_()
    y = module(x)
    assert y.shape == x.shape
    y.square().sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


@each_blueprint
def test_building_twice_with_a_seed_is_bitwise_equal_and_leaves_the_global_generator_alone(blueprint):
    before = torch.get_rng_state()
    first, second, other = blueprint.build(seed=7), blueprint.build(seed=7), blueprint.build(seed=8)
    assert torch.equal(torch.get_rng_state(), before)
    assert first.state_dict().keys() == second.state_dict().keys()
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


@each_blueprint
def test_parameter_bytes_counted_without_torch_are_those_of_the_module(blueprint):
    module = blueprint.build()
    assert blueprint.parameter_bytes == sum(p.numel() * p.element_size() for p in module.parameters())
    assert [name for name, _ in blueprint.graph.parameters()] == [name for name, _ in module.named_parameters()]


@each_blueprint
def test_a_copy_of_a_built_module_computes_the_same(blueprint):
    module = blueprint.build(seed=2).eval()
    inputs = blueprint.interface.example_inputs(_sizes(blueprint, 3))
    assert torch.equal(copy.deepcopy(module)(*inputs), module(*inputs))


def test_dropout_follows_train_and_eval():
    module = BLUEPRINTS["ffn_gelu"].build()
    inputs = BLUEPRINTS["ffn_gelu"].interface.example_inputs({"batch": 4})
    assert not torch.equal(module(*inputs), module(*inputs))
    module.eval()
    assert torch.equal(module(*inputs), module(*inputs))


def test_reading_blueprints_imports_no_torch_and_building_imports_no_compiler():
    program = (
        "import sys; from morph_kernels.blueprint import library; found = library();"
        "assert 'torch' not in sys.modules;"
        "[b.build()(*b.interface.example_inputs({s: 2 for s in b.interface.symbols})) for b in found];"
        "print([m for m in ('torch._dynamo', 'torch._inductor') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
