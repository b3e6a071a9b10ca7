"""The document that grows while a traced graph is walked, with the shape of every value at a few sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from morph_kernels.blueprint.capture.sizes import find_expression
from morph_kernels.blueprint.cursor import Cursor, Source
from morph_kernels.blueprint.errors import BlueprintError, UnsupportedModuleError
from morph_kernels.blueprint.expressions import Expression, canonical_dimension
from morph_kernels.blueprint.inference import infer_node, sample_sizes
from morph_kernels.blueprint.interface import SymbolRange, TensorSpec
from morph_kernels.blueprint.ops.spec import Result, ShapeProblemError, Value
from morph_kernels.blueprint.rules import NodeReader


@dataclass(frozen=True)
class Ref:
    """A value of the blueprint, by its name."""

    name: str


@dataclass(frozen=True)
class Size:
    """An integer that depends on symbols."""

    expression: Expression


class Recorder:
    """Adds one checked node at a time and knows the shapes so far."""

    def __init__(self, inputs: Sequence[TensorSpec], symbols: Mapping[str, SymbolRange], taken: set[str]) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.current = ""
        self._symbols = symbols
        self._samples = sample_sizes(symbols)
        self._known: list[dict[str, Result]] = [
            {spec.name: Value(spec.dtype, spec.sizes(sizes)) for spec in inputs} for sizes in self._samples
        ]
        nowhere = Cursor.of(Source({}))
        self._reader = NodeReader({spec.name: nowhere for spec in inputs})
        self._taken = taken

    def refuse(self, message: str) -> NoReturn:
        """Refuse the module at the place that is being read."""
        raise UnsupportedModuleError(f"{self.current}: {message}")

    def fresh(self, wanted: str) -> str:
        """Return a node id that is not taken, close to the one wanted."""
        name, count = wanted, 1
        while name in self._taken:
            name, count = f"{wanted}_{count}", count + 1
        self._taken.add(name)
        return name

    def emit(self, wanted: str, op: str, inputs: Sequence[Ref], **entries: Any) -> Ref:
        """Add a node and return its value; `entries` are its attributes, or its module."""
        node_id = wanted if entries.pop("exact", False) else self.fresh(wanted)
        document: dict[str, Any] = {"id": node_id, "op": op, "inputs": [ref.name for ref in inputs]}
        module = entries.pop("module", None)
        if module is not None:
            document["module"] = module
        elif entries:
            document["attributes"] = {key: _plain(value) for key, value in entries.items()}
        try:
            node = self._reader.read(Cursor.of(Source(document)), self._symbols)
            for known, sizes in zip(self._known, self._samples, strict=True):
                known[node.id] = infer_node(node, known, sizes)
        except ShapeProblemError as problem:
            self.refuse(f"op {op} {problem}")
        except BlueprintError as error:
            self.refuse(str(error))
        self.nodes.append(document)
        return Ref(node.id)

    def has_parts(self, ref: Ref) -> bool:
        """Return whether the value is the parts of a chunk or split."""
        return not isinstance(self._known[0][ref.name], Value)

    def rank(self, ref: Ref) -> int:
        """Return the number of dimensions of a value."""
        return len(self._shapes(ref)[0])

    def dtype(self, ref: Ref) -> str:
        """Return the dtype of a value."""
        return self.value(ref).dtype

    def value(self, ref: Ref) -> Value:
        """Return a value at the least sizes."""
        found = self._known[0][ref.name]
        if not isinstance(found, Value):
            self.refuse("needs one value, got the parts of a chunk or split")
        return found

    def size(self, ref: Ref, dim: int) -> int | Size:
        """Return the size of a dimension: an integer where it is the same for all symbols."""
        return self._fit([shape[dim] for shape in self._shapes(ref)], f"dimension {dim} of {ref.name!r}")

    def missing_size(self, ref: Ref, shape: Sequence[int | Size]) -> int | Size:
        """Return what a -1 in a shape stands for."""
        found = []
        for sizes, whole in zip(self._samples, self._shapes(ref), strict=True):
            product = TensorSpec("", "", tuple(_plain(size) for size in shape if size != -1)).sizes(sizes)
            elements, divisor = Value("", whole).elements, Value("", product).elements
            if divisor == 0 or elements % divisor:
                self.refuse(f"the -1 in the shape has no whole size for {list(whole)}")
            found.append(elements // divisor)
        return self._fit(found, "the -1 in the shape")

    def _fit(self, found: Sequence[int], what: str) -> int | Size:
        expression = find_expression(self._samples, found)
        if expression is None:
            self.refuse(f"{what} is no integer expression of the symbols: it is {list(found)}")
        return expression if isinstance(expression, int) else Size(expression)

    def _shapes(self, ref: Ref) -> list[tuple[int, ...]]:
        values = [known[ref.name] for known in self._known]
        shapes = [value.shape for value in values if isinstance(value, Value)]
        if len(shapes) != len(values):
            self.refuse("needs one value, got the parts of a chunk or split")
        return shapes


def _plain(value: Any) -> Any:
    if isinstance(value, Size):
        return canonical_dimension(value.expression)
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
