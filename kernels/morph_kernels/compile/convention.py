"""Reads the calling convention off a pair of graphs, and makes the graphs keep it.

Positions count parameters, then buffers, then inputs: the order in which the forward library takes its tensors.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import fx

from morph_kernels.compile.errors import CompileError


def returned(graph_module: fx.GraphModule) -> list[Any]:
    """Return what a graph returns: nodes, and None where the traced function returned nothing."""
    return list(cast("Sequence[Any]", graph_module.graph.output_node().args[0]))


def plan_saved(forward: fx.GraphModule, user_outputs: int) -> list[tuple[str, int]]:
    """Name where each tensor that the backward needs comes from, and stop the library returning what the caller has.

    A saved tensor that is an input or a user's output is kept as that very tensor, so that autograd notices when it
    is changed in place before the backward. The graph is changed accordingly.

    Returns:
        For each saved tensor ("input", position), ("output", index) or ("library", index of the library's outputs).
    """
    nodes = returned(forward)
    positions = {node: index for index, node in enumerate(forward.graph.find_nodes(op="placeholder"))}
    users = {node: index for index, node in enumerate(nodes[:user_outputs])}
    kept = nodes[:user_outputs]
    saved: list[tuple[str, int]] = []
    for node in nodes[user_outputs:]:
        if node in positions:
            saved.append(("input", positions[node]))
        elif node in users:
            saved.append(("output", users[node]))
        else:
            saved.append(("library", len(kept)))
            kept.append(node)
    forward.graph.output_node().args = (tuple(kept),)
    forward.recompile()
    return saved


def plan_watched(forward: fx.GraphModule) -> list[int]:
    """Return the positions of inputs whose memory a saved view shares: their versions must hold until then."""
    placeholders = forward.graph.find_nodes(op="placeholder")
    by_storage = {_storage(node): index for index, node in enumerate(placeholders)}
    outputs = returned(forward)
    return sorted({by_storage[_storage(node)] for node in outputs if _storage(node) in by_storage})


def plan_gradients(backward: fx.GraphModule) -> list[int]:
    """Return the positions that get a gradient, and drop the others from the graph's outputs.

    A gradient that shares memory with another one or with an input of the backward is cloned: the autograd engine may
    keep it as a parameter's `.grad`, and two parameters must not share theirs.
    """
    graph = backward.graph
    output = graph.output_node()
    seen = {_storage(node) for node in graph.find_nodes(op="placeholder")}
    kept: list[fx.Node] = []
    positions: list[int] = []
    for position, node in enumerate(returned(backward)):
        if node is None:
            continue
        fresh = node
        if _storage(node) in seen:
            with graph.inserting_before(output):
                fresh = graph.call_function(
                    torch.ops.aten.clone.default, (node,), {"memory_format": torch.contiguous_format}
                )
                fresh.meta["val"] = torch.empty_like(node.meta["val"], memory_format=torch.contiguous_format)
        seen.add(_storage(fresh))
        kept.append(fresh)
        positions.append(position)
    if not kept:
        raise CompileError("nothing in this module has a gradient, so there is nothing to train")
    output.args = (tuple(kept),)
    graph.lint()
    backward.recompile()
    return positions


def _storage(node: fx.Node) -> Any:
    from torch.multiprocessing.reductions import StorageWeakRef

    return StorageWeakRef(node.meta["val"].untyped_storage())  # type: ignore[no-untyped-call]  # torch's own
