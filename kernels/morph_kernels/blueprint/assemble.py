"""From a graph to an ordinary `nn.Module`: made on meta, filled by name, run node by node."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch import nn

from morph_kernels.blueprint.expressions import Expression, evaluate, parse_expression
from morph_kernels.blueprint.graph import Graph, Node
from morph_kernels.blueprint.initialise import filled_buffer, filled_parameter
from morph_kernels.blueprint.ops.kinds import SHAPE_ATTRIBUTE
from morph_kernels.blueprint.ops.registry import PARAMETER
from morph_kernels.blueprint.ops.spec import Attributes
from morph_kernels.blueprint.realise import FUNCTIONS, MODULES


@dataclass(frozen=True)
class Step:
    """One node, ready to run: a module or parameter found by its path, or a function found by its name."""

    id: str
    op: str
    inputs: tuple[str, ...]
    attributes: Attributes
    shape: tuple[Expression, ...] | None
    owned: Callable[[nn.Module], Any] | None

    def run(self, body: nn.Module, values: Mapping[str, Any], sizes: Mapping[str, Any]) -> Any:
        """Return the node's result."""
        if self.owned is not None:
            # Looked up on every call: a parameter or submodule may have been replaced since.
            found = self.owned(body)
            return found if self.op == PARAMETER else found(values[self.inputs[0]])
        attributes = self.attributes
        if self.shape is not None:
            shape = tuple(evaluate(size, sizes) for size in self.shape)
            attributes = {**attributes, SHAPE_ATTRIBUTE: shape}
        return FUNCTIONS[self.op]([values[name] for name in self.inputs], attributes)


@dataclass(frozen=True)
class Program:
    """What a body runs: where each symbol is read from, the steps in order, and the values to return."""

    inputs: tuple[str, ...]
    symbols: tuple[tuple[str, int, int], ...]
    steps: tuple[Step, ...]
    results: tuple[str, ...]


class BlueprintModule(nn.Module):
    """A blueprint as an ordinary module: inputs by position, in the order of the interface.

    Traceable by torch.fx and AOT autograd with symbolic sizes: nothing in `forward` depends on a value.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self._program = program

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Run the nodes in order; return the output, or a tuple where the interface has more than one."""
        program = self._program
        # A tracer's proxy stands for all inputs at once and has no length.
        if isinstance(inputs, tuple) and len(inputs) != len(program.inputs):
            expected = ", ".join(program.inputs)
            raise TypeError(f"forward takes {len(program.inputs)} inputs ({expected}), got {len(inputs)}")
        values: dict[str, Any] = {name: inputs[index] for index, name in enumerate(program.inputs)}
        sizes = {name: inputs[index].shape[dim] for name, index, dim in program.symbols}
        for step in program.steps:
            values[step.id] = step.run(self, values, sizes)
        results = tuple(values[name] for name in program.results)
        return results[0] if len(results) == 1 else results


def build_module(graph: Graph, *, seed: int, device: str) -> BlueprintModule:
    """Return the graph's module with every parameter filled from (seed, qualified name)."""
    body = BlueprintModule(_program(graph))
    for node in graph.nodes:
        if node.shares:
            continue
        if node.op == PARAMETER:
            parent, name = _place(body, node.id)
            parent.register_parameter(name, _parameters(node, seed, device)[node.id])
        elif node.definition.is_module:
            parent, name = _place(body, node.id)
            parent.add_module(name, _leaf(node, seed, device))
    return body


def _leaf(node: Node, seed: int, device: str) -> nn.Module:
    leaf = MODULES[node.op](node.attributes)
    prefix = len(node.id) + 1
    for name, parameter in _parameters(node, seed, device).items():
        leaf.register_parameter(name[prefix:], parameter)
    for name, slot in node.buffers():
        leaf.register_buffer(name[prefix:], filled_buffer(name, slot, device=device))
    return leaf


def _parameters(node: Node, seed: int, device: str) -> dict[str, nn.Parameter]:
    found = {}
    for name, slot in node.parameters():
        fill = node.initialisation.get(slot.name or "value", slot.initialisation)
        found[name] = filled_parameter(name, slot, fill, seed=seed, device=device)
    return found


def _place(body: nn.Module, path: str) -> tuple[nn.Module, str]:
    """Return the container of the path, made where it is not there yet, and the last part of the path."""
    *containers, name = path.split(".")
    for part in containers:
        if part not in body._modules:  # noqa: SLF001  has no public question for "is there a child"
            body.add_module(part, nn.Module())
        body = body.get_submodule(part)
    return body, name


def _program(graph: Graph) -> Program:
    interface = graph.interface
    places: dict[str, tuple[str, int, int]] = {}
    for index, spec in enumerate(interface.inputs):
        for dim, size in enumerate(spec.shape):
            if isinstance(size, str) and size in interface.symbols:
                places.setdefault(size, (size, index, dim))
    steps = tuple(_step(node) for node in graph.nodes)
    return Program(tuple(s.name for s in interface.inputs), tuple(places.values()), steps, graph.results)


def _step(node: Node) -> Step:
    owned = attrgetter(node.module) if node.definition.is_module or node.op == PARAMETER else None
    given = node.attributes.get(SHAPE_ATTRIBUTE)
    shape = None if given is None else tuple(parse_expression(s) if isinstance(s, str) else s for s in given)
    return Step(node.id, node.op, node.inputs, dict(node.attributes), shape, owned)
