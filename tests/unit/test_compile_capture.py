"""A trace refuses what the calling convention cannot carry, and hands no sizes between the two graphs."""

import pytest
import torch
from torch import nn

from morph_kernels.blueprint import Interface, SymbolRange, TensorSpec
from morph_kernels.compile.capture import trace
from morph_kernels.compile.convention import plan_gradients, plan_saved, returned
from morph_kernels.compile.errors import CompileError
from morph_kernels.compile.symints import drop_size_outputs, rebuild_size_inputs
from tests.support.trap_kernel import TRAPS

SYMBOLS = {"batch": SymbolRange(1, 64)}
SPEC = TensorSpec("x", "float32", ("batch", 8))
INTERFACE = Interface(inputs=(SPEC,), outputs=(SPEC,), symbols=SYMBOLS)


class ChangesItsInput(nn.Module):
    """Changes a tensor of indices, which no check of autograd forbids."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(8))

    def forward(self, x):
        return x.add_(1) * self.weight


class ReturnsItsInput(nn.Module):
    def forward(self, x):
        return x


class ReturnsAView(nn.Module):
    def forward(self, x):
        return x.view(-1, 2, 4)


def test_a_module_that_changes_its_input_is_refused():
    indices = TensorSpec("x", "int64", ("batch", 8))
    interface = Interface(inputs=(indices,), outputs=(SPEC,), symbols=SYMBOLS)
    with pytest.raises(CompileError, match="changes its input 0"), trace(ChangesItsInput(), interface, SYMBOLS):
        pass


@pytest.mark.parametrize("module", [ReturnsItsInput(), ReturnsAView()])
def test_a_module_that_returns_the_memory_of_its_input_is_refused(module):
    with pytest.raises(CompileError, match="output 0 is an input or shares"), trace(module, INTERFACE, SYMBOLS):
        pass


@pytest.fixture(scope="module")
def graphs():
    """The forward and backward graph of the trap kernel, as the partitioner makes them."""
    made = {}

    def keep(role):
        def compiler(graph_module, inputs):
            made[role] = (graph_module, list(inputs))
            return lambda *_: None

        return compiler

    module = TRAPS.build(0).train()
    with trace(module, TRAPS.interface, TRAPS.interface.symbols) as traced:
        traced.compile_with(keep("forward"), keep("backward"))
        yield made


def sizes_in(nodes):
    return [node for node in nodes if isinstance(node.meta["val"], torch.SymInt)]


def test_no_size_crosses_between_the_graphs(graphs):
    forward, _ = graphs["forward"]
    backward, inputs = graphs["backward"]
    handed = sizes_in(returned(forward))
    assert handed, "without sizes to hand over this test shows nothing"
    drop_size_outputs(forward)
    assert not sizes_in(returned(forward))
    kept = rebuild_size_inputs(backward, inputs)
    placeholders = backward.graph.find_nodes(op="placeholder")
    assert not sizes_in(placeholders)
    assert len(kept) == len(placeholders) == len(inputs) - len(handed)
    saved = plan_saved(forward, 1)
    assert len(saved) == len(placeholders) - 1, "everything but the one tangent"
    assert len(plan_gradients(backward)) == 3


def test_a_size_that_no_tensor_has_refuses_the_build():
    graph = torch.fx.Graph()
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    size = ShapeEnv().create_unbacked_symint()
    placeholder = graph.placeholder("size")
    placeholder.meta["val"] = size
    graph.output((graph.call_function(torch.ops.aten.full.default, ([placeholder], 1.0)),))
    with pytest.raises(CompileError, match="no saved tensor's shape"):
        rebuild_size_inputs(torch.fx.GraphModule(nn.Module(), graph), [size])
