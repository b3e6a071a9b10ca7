"""From an untrusted document to a graph: every value typed, every name known, every reference backward."""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from morph_kernels.blueprint.aliasing import check_outputs_own_their_memory
from morph_kernels.blueprint.cursor import Cursor, Source, shown
from morph_kernels.blueprint.errors import BlueprintShapeError
from morph_kernels.blueprint.expressions import is_symbol, parse_expression, symbols_of
from morph_kernels.blueprint.graph import FORMAT, INITIALISATIONS, Graph, Node
from morph_kernels.blueprint.inference import check_shapes
from morph_kernels.blueprint.interface import DTYPES, Interface, SymbolRange, TensorSpec
from morph_kernels.blueprint.limits import (
    MAX_DIMENSION,
    MAX_IDENTIFIER_CHARS,
    MAX_INTERFACE_TENSORS,
    MAX_NODES,
    MAX_OPERANDS,
    MAX_SYMBOLS,
)
from morph_kernels.blueprint.names import RESERVED_SEGMENTS
from morph_kernels.blueprint.ops.kinds import SHAPE_ATTRIBUTE, read_shape
from morph_kernels.blueprint.ops.registry import OPS, PARAMETER
from morph_kernels.blueprint.ops.spec import REQUIRED, Initialisation, Op, ShapeProblemError

_IDENTIFIER: Final = re.compile(rf"(?=.{{1,{MAX_IDENTIFIER_CHARS}}}\Z)[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*", re.ASCII)
_IDENTIFIER_WORDS: Final = f"1 to {MAX_IDENTIFIER_CHARS} of A-Z a-z 0-9 _ in parts joined by dots"
_INPUT: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_INPUT_WORDS: Final = "1 to 63 of a-z 0-9 _ beginning with a letter"
_SECTIONS: Final = ("format", "symbols", "inputs", "outputs", "nodes")
_LARGEST_FILL: Final = 1.0e6


def read_graph(source: Source, *, extra: tuple[str, ...] = ()) -> tuple[Graph, Mapping[str, Cursor]]:
    """Check a document by every rule; return its graph and the entries under the extra top-level keys.

    Raises:
        BlueprintError: whatever is wrong, with its place.
    """
    root = Cursor.of(source)
    entries = root.mapping(_SECTIONS, extra)
    entries["format"].integer(FORMAT, FORMAT)
    symbols = _read_symbols(entries["symbols"])
    inputs = tuple(
        _read_tensor(item, symbols, "input")[0] for item in entries["inputs"].items(least=1, most=MAX_INTERFACE_TENSORS)
    )
    _check_symbols_are_bound(entries["symbols"], inputs)
    builder = NodeReader({spec.name: entries["inputs"] for spec in inputs})
    if len(builder.values) != len(inputs):
        entries["inputs"].fail("two inputs have the same name")
    nodes = tuple(builder.read(item, symbols) for item in entries["nodes"].items(most=MAX_NODES))
    pairs = [
        _read_tensor(item, symbols, "output") for item in entries["outputs"].items(least=1, most=MAX_INTERFACE_TENSORS)
    ]
    if len({spec.name for spec, _ in pairs}) != len(pairs):
        entries["outputs"].fail("two outputs have the same name")
    results = tuple(builder.known(cursor, "output") for _, cursor in pairs if cursor is not None)
    graph = Graph(Interface(inputs, tuple(spec for spec, _ in pairs), symbols), nodes, results)
    _check_paths(graph, builder.places)
    check_outputs_own_their_memory(graph, entries["outputs"])
    check_shapes(graph, places=builder.places, outputs=entries["outputs"])
    return graph, {key: entries[key] for key in extra if key in entries}


def _read_symbols(cursor: Cursor) -> Mapping[str, SymbolRange]:
    found = {}
    for name, entry in cursor.entries(most=MAX_SYMBOLS).items():
        if not is_symbol(name):
            entry.fail(f"symbol {shown(name)} must be 1 to 32 of a-z 0-9 _ beginning with a letter, no Python keyword")
        least, most = (item.integer(1, MAX_DIMENSION) for item in entry.items(least=2, most=2))
        if least > most:
            entry.fail(f"the range {least} to {most} is empty")
        found[name] = SymbolRange(least, most)
    return MappingProxyType(found)


def _read_tensor(cursor: Cursor, symbols: Mapping[str, SymbolRange], kind: str) -> tuple[TensorSpec, Cursor | None]:
    is_input = kind == "input"
    keys = ("name", "dtype", "shape") if is_input else ("name", "dtype", "shape", "value")
    entries = cursor.mapping(keys, ("below",) if is_input else ())
    name = entries["name"].text(_INPUT, _INPUT_WORDS)
    entries = {key: entry.named(f"{kind} {name!r}") for key, entry in entries.items()}
    dtype = entries["dtype"].choice(*DTYPES)
    shape = read_shape(entries["shape"])
    _check_symbols(shape, symbols, entries["shape"])
    if is_input and dtype == "int64" and "below" not in entries:
        cursor.named(f"input {name!r}").fail("an int64 input needs `below`: its values are 0 <= value < below")
    if "below" in entries and dtype != "int64":
        entries["below"].fail("only an int64 input has `below`")
    below = entries["below"].integer(1, MAX_DIMENSION) if "below" in entries else None
    return TensorSpec(name, dtype, shape, below), entries.get("value")


def _check_symbols(shape: tuple[int | str, ...], symbols: Mapping[str, SymbolRange], cursor: Cursor) -> None:
    for size in shape:
        unknown = symbols_of(parse_expression(size)) - symbols.keys() if isinstance(size, str) else frozenset()
        if unknown:
            declared = ", ".join(symbols) or "none"
            cursor.fail(f"unknown symbol {', '.join(sorted(unknown))}; declared: {declared}")


def _check_symbols_are_bound(cursor: Cursor, inputs: tuple[TensorSpec, ...]) -> None:
    bound = {size for spec in inputs for size in spec.shape}
    for name, entry in cursor.entries().items():
        if name not in bound:
            entry.fail(f"symbol {name!r} must stand alone as a size of some input, or it has no value")


class NodeReader:
    """Reads the nodes in order; a value is known once its node has been read, so there is no way to a cycle."""

    def __init__(self, inputs: Mapping[str, Cursor]) -> None:
        self.values: dict[str, Cursor] = dict(inputs)
        self.places: dict[str, Cursor] = {}
        self._owners: dict[str, Node] = {}

    def known(self, cursor: Cursor, what: str) -> str:
        """Return the name of a value that is already there."""
        name = cursor.text(_IDENTIFIER, f"the name of an input or node: {_IDENTIFIER_WORDS}")
        if name not in self.values:
            cursor.fail(f"{what} {name!r} is neither an input nor an earlier node")
        return name

    def read(self, cursor: Cursor, symbols: Mapping[str, SymbolRange]) -> Node:
        """Return the next node."""
        entries = cursor.mapping(("id", "op"), ("inputs", "attributes", "module", "initialisation"))
        name = entries["id"].text(_IDENTIFIER, _IDENTIFIER_WORDS)
        cursor = cursor.named(f"node {name!r}")
        entries = {key: entry.named(cursor.label) for key, entry in entries.items()}
        if name in self.values:
            entries["id"].fail("the id is already taken by an input or an earlier node")
        op = _read_op(entries["op"])
        operands = entries["inputs"].items(most=MAX_OPERANDS) if "inputs" in entries else iter(())
        inputs = tuple(self.known(item, "value") for item in operands)
        least, most = op.operands
        if not least <= len(inputs) <= most:
            count = str(least) if least == most else f"{least} to {most}"
            entries.get("inputs", cursor).fail(f"op {op.name} takes {count} inputs, got {len(inputs)}")
        node = self._node(name, op, inputs, entries, cursor)
        _check_symbols(node.attributes.get(SHAPE_ATTRIBUTE, ()), symbols, entries.get("attributes", cursor))
        self.values[name] = self.places[name] = cursor
        return node

    def _node(self, name: str, op: Op, inputs: tuple[str, ...], entries: Mapping[str, Cursor], cursor: Cursor) -> Node:
        module = entries["module"].text(_IDENTIFIER, _IDENTIFIER_WORDS) if "module" in entries else name
        if module != name:
            return self._sharing(name, op, inputs, module, entries)
        attributes = _read_attributes(op, entries.get("attributes"), cursor)
        node = Node(name, op.name, inputs, attributes, name)
        if "initialisation" in entries:
            fills = _read_initialisation(node, entries["initialisation"])
            node = Node(name, op.name, inputs, attributes, name, fills)
        if op.is_module:
            self._owners[name] = node
        return node

    def _sharing(self, name: str, op: Op, inputs: tuple[str, ...], module: str, entries: Mapping[str, Cursor]) -> Node:
        owner = self._owners.get(module)
        if owner is None or owner.op != op.name:
            entries["module"].fail(f"{module!r} is not an earlier {op.name} node that brings its own module")
        for key in ("attributes", "initialisation"):
            if key in entries:
                entries[key].fail(f"belongs to node {module!r}, which brings the module")
        return Node(name, op.name, inputs, owner.attributes, module)


def _read_op(cursor: Cursor) -> Op:
    if not isinstance(cursor.value, str) or cursor.value not in OPS:
        cursor.fail(f"unknown op {shown(cursor.value)}; allowed: {', '.join(sorted(OPS))}")
    return OPS[cursor.value]


def _read_attributes(op: Op, cursor: Cursor | None, node: Cursor) -> Mapping[str, Any]:
    known = op.attributes
    required = tuple(name for name, attribute in known.items() if attribute.default is REQUIRED)
    optional = tuple(name for name in known if name not in required)
    given = cursor.mapping(required, optional) if cursor is not None else {}
    for name in required:
        if name not in given:
            node.fail(f"op {op.name} needs attribute {name!r}")
    values = {n: k.read(given[n]) if n in given else k.default for n, k in known.items()}
    try:
        op.check(values)
    except ShapeProblemError as problem:
        (cursor or node).fail(str(problem), BlueprintShapeError)
    return MappingProxyType(values)


def _read_initialisation(node: Node, cursor: Cursor) -> Mapping[str, Initialisation]:
    slots = {slot.name or "value": slot for slot in node.definition.parameters(node.attributes)}
    found = {}
    for name, entry in cursor.mapping((), tuple(slots)).items():
        kinds = entry.entries()
        if "kind" not in kinds:
            entry.fail(f"missing key 'kind'; allowed: {', '.join(INITIALISATIONS)}")
        kind = kinds["kind"].choice(*INITIALISATIONS)
        arguments = entry.mapping(("kind", *INITIALISATIONS[kind]))
        values = tuple(arguments[key].number(-_LARGEST_FILL, _LARGEST_FILL) for key in INITIALISATIONS[kind])
        if kind == "normal" and values[1] < 0:
            arguments["std"].fail("must not be negative")
        if kind == "uniform" and values[0] > values[1]:
            arguments["low"].fail("must not be above high")
        fill = Initialisation(kind, values)
        if fill != slots[name].initialisation:
            found[name] = fill
    return MappingProxyType(found)


def _check_paths(graph: Graph, places: Mapping[str, Cursor]) -> None:
    """Refuse state_dict names that torch could not hold side by side."""
    owners = {n.id: n for n in graph.nodes if n.op == PARAMETER or (n.definition.is_module and not n.shares)}
    for name in owners:
        parts = name.split(".")
        for part in parts:
            if part in RESERVED_SEGMENTS or part.startswith("__"):
                places[name].fail(f"{part!r} is a name that torch.nn.Module uses itself")
        for length in range(1, len(parts)):
            prefix = ".".join(parts[:length])
            if prefix in owners:
                places[name].fail(f"lies inside node {prefix!r}, which owns a module or parameter")
