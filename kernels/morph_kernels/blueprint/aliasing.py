"""Outputs own their memory: none is an input, a parameter or a view of one, and no two are views of one value.

A compiled body returns fresh tensors; an output that aliases would be right eagerly and wrong compiled.
"""

from typing import Final

from morph_kernels.blueprint.cursor import Cursor
from morph_kernels.blueprint.graph import Graph
from morph_kernels.blueprint.ops.registry import PARAMETER

# Dropout hands its input through in eval mode; reshape and flatten copy only where they must.
_PASSING: Final = frozenset(
    {
        "reshape",
        "expand",
        "permute",
        "transpose",
        "flatten",
        "unsqueeze",
        "squeeze",
        "chunk",
        "split",
        "getitem",
        "narrow",
        "dropout",
    }
)


def check_outputs_own_their_memory(graph: Graph, outputs: Cursor) -> None:
    """Refuse a graph whose outputs alias its inputs, its parameters or each other.

    Raises:
        BlueprintRuleError: the message names the output and what it aliases.
    """
    roots = {spec.name: spec.name for spec in graph.interface.inputs}
    owned = set(roots)
    for node in graph.nodes:
        roots[node.id] = roots[node.inputs[0]] if node.op in _PASSING else node.id
        if node.op == PARAMETER:
            owned.add(node.id)
    taken: dict[str, str] = {}
    for spec, value in zip(graph.interface.outputs, graph.results, strict=True):
        root = roots[value]
        if root in owned:
            outputs.fail(f"output {spec.name!r} is {root!r} itself or a view of it; outputs must be new values")
        if (other := taken.setdefault(root, spec.name)) != spec.name:
            outputs.fail(f"outputs {other!r} and {spec.name!r} are views of one value {root!r}; outputs must be apart")
