"""Keeps sizes out of the libraries' interfaces: AOTInductor takes and returns tensors only.

The partitioner hands sizes from forward to backward as integers. The forward drops them; the backward reads each of
them again from the shape of a tensor it is given.
"""

from collections.abc import Sequence
from typing import Any

import sympy
import torch
from torch import fx
from torch.utils._sympy.interp import sympy_interp
from torch.utils._sympy.reference import PythonReferenceAnalysis

from morph_kernels.compile.convention import returned
from morph_kernels.compile.errors import CompileError


def drop_size_outputs(graph_module: fx.GraphModule) -> None:
    """Remove the integer outputs at the end of a forward graph, in place."""
    nodes = returned(graph_module)
    kept = [node for node in nodes if not isinstance(node.meta["val"], torch.SymInt)]
    if kept != nodes[: len(kept)]:
        raise CompileError("a size is returned before a tensor; a blueprint may only return tensors")
    if len(kept) < len(nodes):
        graph_module.graph.output_node().args = (tuple(kept),)
        graph_module.graph.eliminate_dead_code()
        graph_module.recompile()


def rebuild_size_inputs(graph_module: fx.GraphModule, inputs: Sequence[Any]) -> list[Any]:
    """Replace the integer inputs of a backward graph by sizes of its tensor inputs; return the inputs that remain.

    Raises:
        CompileError: a size is in no tensor's shape.
    """
    graph = graph_module.graph
    placeholders = graph.find_nodes(op="placeholder")
    sources = _sizes_by_symbol(placeholders)
    tracer = fx.proxy.GraphAppendingTracer(graph)
    reads: dict[sympy.Symbol, fx.Node] = {}
    first = next(node for node in graph.nodes if node.op != "placeholder")
    with graph.inserting_before(first):
        for placeholder in placeholders:
            size = placeholder.meta["val"]
            if not isinstance(size, torch.SymInt):
                continue
            for symbol in size.node.expr.free_symbols:
                reads.setdefault(symbol, _read_size(graph, sources, symbol))
            environment = {symbol: fx.Proxy(node, tracer) for symbol, node in reads.items()}
            value = sympy_interp(PythonReferenceAnalysis, environment, size.node.expr)
            replacement = value.node if isinstance(value, fx.Proxy) else value
            if isinstance(replacement, fx.Node):
                replacement.meta.setdefault("val", size)
            placeholder.replace_all_uses_with(replacement)
    kept = [
        value
        for placeholder, value in zip(placeholders, inputs, strict=True)
        if not isinstance(placeholder.meta["val"], torch.SymInt)
    ]
    for placeholder in placeholders:
        if isinstance(placeholder.meta["val"], torch.SymInt):
            graph.erase_node(placeholder)
    graph.lint()
    graph_module.recompile()
    return kept


def _sizes_by_symbol(placeholders: Sequence[fx.Node]) -> dict[sympy.Symbol, tuple[fx.Node, int]]:
    sources: dict[sympy.Symbol, tuple[fx.Node, int]] = {}
    for placeholder in placeholders:
        value = placeholder.meta["val"]
        if not isinstance(value, torch.Tensor):
            continue
        for dim, size in enumerate(value.shape):
            if isinstance(size, torch.SymInt) and isinstance(size.node.expr, sympy.Symbol):
                sources.setdefault(size.node.expr, (placeholder, dim))
    return sources


def _read_size(graph: fx.Graph, sources: dict[sympy.Symbol, tuple[fx.Node, int]], symbol: sympy.Symbol) -> fx.Node:
    if symbol not in sources:
        raise CompileError(f"size {symbol} is needed in the backward but is in no saved tensor's shape")
    placeholder, dim = sources[symbol]
    node = graph.call_function(torch.ops.aten.sym_size.int, (placeholder, dim))
    node.meta["val"] = placeholder.meta["val"].shape[dim]
    return node
