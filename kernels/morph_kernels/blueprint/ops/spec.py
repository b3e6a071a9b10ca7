"""The words an op is described in. Shapes are worked out at concrete sizes, in plain integers.

Torch's own meta tensors would do the same, but a meta addition imports torch._dynamo, which nothing that runs
inside training may do. That each rule agrees with torch is proved in tests/unit/test_blueprint_ops.py.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from morph_kernels.blueprint.cursor import Cursor

Attributes = Mapping[str, Any]
REQUIRED: Final = object()
DTYPE_BYTES: Final = {"float32": 4, "int64": 8, "bool": 1}


class ShapeProblemError(ValueError):
    """Operands that do not fit an op; the caller adds the node."""


@dataclass(frozen=True)
class Value:
    """A tensor between two nodes, at one choice of sizes."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.shape)

    @property
    def elements(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)


Result = Value | tuple[Value, ...]


@dataclass(frozen=True)
class Attribute:
    """How an attribute is read from untrusted data, and what it is where it is not given."""

    read: Callable[[Cursor], Any]
    default: Any = REQUIRED


@dataclass(frozen=True)
class Initialisation:
    """How a parameter is filled: zeros, ones, constant(value), normal(mean, std) or uniform(low, high)."""

    kind: str
    arguments: tuple[float, ...] = ()


@dataclass(frozen=True)
class Slot:
    """A parameter or buffer that an op owns, with what torch itself would fill it with."""

    name: str
    shape: tuple[int, ...]
    initialisation: Initialisation
    dtype: str = "float32"

    @property
    def size_bytes(self) -> int:
        """The bytes that the tensor takes."""
        return math.prod(self.shape) * DTYPE_BYTES[self.dtype]


def no_slots(_: Attributes) -> tuple[Slot, ...]:
    """Return nothing: most ops own no tensors."""
    return ()


@dataclass(frozen=True)
class Op:
    """An op: how many operands, which attributes, which tensors it owns, and its shape rule.

    `infer` gets the operands and the attributes, with shape expressions already evaluated; it raises
    `ShapeProblemError`. `check` raises it for attributes that contradict each other.
    """

    name: str
    infer: Callable[[Sequence[Value], Attributes], Result]
    operands: tuple[int, int] = (1, 1)
    attributes: Mapping[str, Attribute] = field(default_factory=lambda: MappingProxyType({}))
    is_module: bool = False
    parameters: Callable[[Attributes], tuple[Slot, ...]] = no_slots
    buffers: Callable[[Attributes], tuple[Slot, ...]] = no_slots
    check: Callable[[Attributes], None] = lambda _: None


def require(condition: bool, message: str) -> None:
    """Raise `ShapeProblemError` with the message unless the condition holds."""
    if not condition:
        raise ShapeProblemError(message)


def floating(values: Sequence[Value]) -> None:
    """Require float32 operands."""
    for value in values:
        require(value.dtype == "float32", f"needs float32, got {value.dtype}")


def axis(dim: int, rank: int) -> int:
    """Return the dimension counted from the front, of a value of the rank."""
    require(-rank <= dim < rank, f"dimension {dim} is outside a value of {rank} dimensions")
    return dim % rank


def axes(dims: Sequence[int], rank: int) -> tuple[int, ...]:
    """Return distinct dimensions counted from the front."""
    found = tuple(axis(dim, rank) for dim in dims)
    require(len(set(found)) == len(found), f"dimensions {list(dims)} name one twice")
    return found


def broadcast(left: Sequence[int], right: Sequence[int]) -> tuple[int, ...]:
    """Return the shape that both broadcast to, by torch's rule."""
    rank = max(len(left), len(right))
    padded = [(1,) * (rank - len(shape)) + tuple(shape) for shape in (left, right)]
    for a, b in zip(*padded, strict=True):
        require(a == b or 1 in (a, b), f"shapes {list(left)} and {list(right)} do not broadcast")
    return tuple(b if a == 1 else a for a, b in zip(*padded, strict=True))
