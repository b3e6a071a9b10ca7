"""Shapes of every value, worked out at several sizes before anything is built, and the bytes of the parameters."""

from collections.abc import Mapping
from typing import Final

from morph_kernels.blueprint.cursor import Cursor
from morph_kernels.blueprint.errors import BlueprintShapeError, BlueprintTooLargeError
from morph_kernels.blueprint.graph import Graph, Node
from morph_kernels.blueprint.interface import SymbolRange, TensorSpec
from morph_kernels.blueprint.limits import MAX_PARAMETER_BYTES, MAX_RANK, MAX_TENSOR_ELEMENTS
from morph_kernels.blueprint.ops.kinds import SHAPE_ATTRIBUTE
from morph_kernels.blueprint.ops.registry import GETITEM
from morph_kernels.blueprint.ops.spec import Attributes, Result, ShapeProblemError, Value

_PRIMES: Final = (1, 2, 4, 6, 10, 12, 16, 18)
Sizes = Mapping[str, int]


def sample_sizes(symbols: Mapping[str, SymbolRange]) -> tuple[Sizes, ...]:
    """Return sizes to try: both ends, each symbol at one end alone, and points inside where symbols differ."""
    least = {name: allowed.min for name, allowed in symbols.items()}
    most = {name: allowed.max for name, allowed in symbols.items()}
    samples = [least, most]
    samples += [least | {name: most[name]} for name in symbols]
    for shift in range(3):
        steps = {name: _PRIMES[(index + shift) % len(_PRIMES)] for index, name in enumerate(symbols)}
        samples.append({name: min(most[name], least[name] + steps[name]) for name in symbols})
    return tuple(dict(items) for items in dict.fromkeys(tuple(sample.items()) for sample in samples))


def infer_node(node: Node, known: Mapping[str, Result], sizes: Sizes) -> Result:
    """Return the result of one node from the results before it.

    Raises:
        ShapeProblemError: the operands do not fit, or the result is beyond the bounds.
    """
    operands = [known[name] for name in node.inputs]
    if node.op == GETITEM:
        return _item(operands[0], node.attributes["index"])
    values = [value for value in operands if isinstance(value, Value)]
    if len(values) != len(operands):
        raise ShapeProblemError("needs one value, got the parts of a chunk or split: take one with getitem")
    result = node.definition.infer(values, attributes_at(node, sizes))
    for value in (result,) if isinstance(result, Value) else result:
        if value.rank > MAX_RANK:
            raise ShapeProblemError(f"has {value.rank} dimensions; at most {MAX_RANK} are allowed")
        if value.elements > MAX_TENSOR_ELEMENTS:
            raise ShapeProblemError(f"has {value.elements} elements; at most {MAX_TENSOR_ELEMENTS} are allowed")
    return result


def attributes_at(node: Node, sizes: Sizes) -> Attributes:
    """Return the node's attributes with its shape, where it has one, as integers."""
    if SHAPE_ATTRIBUTE not in node.attributes:
        return node.attributes
    shape = TensorSpec(node.id, "", node.attributes[SHAPE_ATTRIBUTE]).sizes(sizes)
    if any(size < 1 for size in shape):
        raise ShapeProblemError(f"the shape is {list(shape)} at {_at(sizes)}: every size must be at least 1")
    return {**node.attributes, SHAPE_ATTRIBUTE: shape}


def check_shapes(graph: Graph, *, places: Mapping[str, Cursor], outputs: Cursor) -> None:
    """Refuse a graph whose nodes do not fit, whose outputs differ from what is declared, or that is too large.

    Raises:
        BlueprintShapeError: at some declared size a node or output does not fit.
        BlueprintTooLargeError: the parameters take more bytes than allowed.
    """
    _check_bytes(graph, places)
    _check_indices(graph, places)
    for sizes in sample_sizes(graph.interface.symbols):
        _check_at(graph, sizes, places, outputs)


def parameter_bytes(graph: Graph) -> int:
    """Return the bytes of every parameter, counted from their shapes alone."""
    return sum(slot.size_bytes for _, slot in graph.parameters())


def _check_bytes(graph: Graph, places: Mapping[str, Cursor]) -> None:
    total = 0
    for node in graph.nodes:
        total += sum(slot.size_bytes for _, slot in (*node.parameters(), *node.buffers()))
        if total > MAX_PARAMETER_BYTES:
            message = f"parameters up to here take {total} bytes; at most {MAX_PARAMETER_BYTES} are allowed"
            places[node.id].fail(message, BlueprintTooLargeError)


def _check_at(graph: Graph, sizes: Sizes, places: Mapping[str, Cursor], outputs: Cursor) -> None:
    known: dict[str, Result] = {}
    for spec in graph.interface.inputs:
        known[spec.name] = _declared(spec, sizes, outputs)
    for node in graph.nodes:
        try:
            known[node.id] = infer_node(node, known, sizes)
        except ShapeProblemError as problem:
            places[node.id].fail(f"op {node.op} {problem} ({_at(sizes)})", BlueprintShapeError)
    for spec, name in zip(graph.interface.outputs, graph.results, strict=True):
        declared, found = _declared(spec, sizes, outputs), known[name]
        if found != declared:
            given = (
                f"{found.dtype} {list(found.shape)}" if isinstance(found, Value) else "the parts of a chunk or split"
            )
            declared_text = f"{declared.dtype} {list(declared.shape)}"
            outputs.fail(
                f"output {spec.name!r} is declared {declared_text}, but node {name!r} gives {given} ({_at(sizes)})",
                BlueprintShapeError,
            )


def _declared(spec: TensorSpec, sizes: Sizes, cursor: Cursor) -> Value:
    value = Value(spec.dtype, spec.sizes(sizes))
    if any(size < 1 for size in value.shape):
        cursor.fail(f"{spec.name!r} has shape {list(value.shape)} at {_at(sizes)}", BlueprintShapeError)
    if value.elements > MAX_TENSOR_ELEMENTS:
        message = f"{spec.name!r} has {value.elements} elements; at most {MAX_TENSOR_ELEMENTS} are allowed"
        cursor.fail(message, BlueprintTooLargeError)
    return value


def _check_indices(graph: Graph, places: Mapping[str, Cursor]) -> None:
    bounds = {spec.name: spec.below for spec in graph.interface.inputs if spec.below is not None}
    for node in graph.nodes:
        if node.op == "embedding":
            below = bounds.get(node.inputs[0])
            if below is None or below > node.attributes["num_embeddings"]:
                count = node.attributes["num_embeddings"]
                places[node.id].fail(f"op embedding needs an int64 input with `below` of at most {count}")


def _item(parts: Result, index: int) -> Value:
    if isinstance(parts, Value):
        raise ShapeProblemError("needs the parts of a chunk or split")
    if index >= len(parts):
        raise ShapeProblemError(f"has index {index} of {len(parts)} parts")
    return parts[index]


def _at(sizes: Sizes) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items()) or "its fixed sizes"
