"""The typed face of a blueprint: named inputs and outputs with symbolic shapes over declared ranges."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from morph_kernels.blueprint.errors import BlueprintShapeError
from morph_kernels.blueprint.expressions import evaluate, parse_expression

if TYPE_CHECKING:
    import torch

DTYPES: Final = ("float32", "int64", "bool")


@dataclass(frozen=True)
class SymbolRange:
    """The sizes that a symbol may take, both ends included."""

    min: int
    max: int

    def __contains__(self, size: int) -> bool:
        return self.min <= size <= self.max


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of an interface; a text in `shape` is a symbol or an integer expression of symbols.

    `below` bounds the values of an int64 input: they are 0 <= value < below, as an embedding's indices must be.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    below: int | None = None

    def sizes(self, symbols: Mapping[str, int]) -> tuple[int, ...]:
        """Return the concrete shape at the given symbol sizes."""
        return tuple(
            size if isinstance(size, int) else int(evaluate(parse_expression(size), symbols)) for size in self.shape
        )


@dataclass(frozen=True)
class Interface:
    """What goes in, what comes out, and for which sizes."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    symbols: Mapping[str, SymbolRange]

    def __post_init__(self) -> None:
        object.__setattr__(self, "symbols", MappingProxyType(dict(self.symbols)))

    def __reduce__(self) -> tuple[Any, ...]:
        # A mapping proxy cannot be copied; the modules that carry an interface are.
        return Interface, (self.inputs, self.outputs, dict(self.symbols))

    def example_inputs(
        self, sizes: Mapping[str, int], *, seed: int = 0, device: str = "cpu"
    ) -> tuple["torch.Tensor", ...]:
        """Return inputs of the given symbol sizes: the same for the same seed on every device.

        Raises:
            BlueprintShapeError: a symbol is missing, or its size is outside its declared range.
        """
        for symbol, allowed in self.symbols.items():
            if sizes.get(symbol) not in range(allowed.min, allowed.max + 1):
                raise BlueprintShapeError(
                    f"symbol {symbol!r}: size {sizes.get(symbol)} is outside {allowed.min} to {allowed.max}"
                )
        return tuple(_example(spec, sizes, seed).to(device) for spec in self.inputs)


def keyed_seed(seed: int, name: str) -> int:
    """Return the generator seed that belongs to a name: independent of every other name and of their order."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big") >> 1


def _example(spec: TensorSpec, sizes: Mapping[str, int], seed: int) -> "torch.Tensor":
    import torch

    generator = torch.Generator().manual_seed(keyed_seed(seed, spec.name))
    shape = spec.sizes(sizes)
    if spec.dtype == "float32":
        return torch.randn(shape, generator=generator)
    numbers = torch.randint(0, spec.below or 2, shape, generator=generator)
    return numbers.bool() if spec.dtype == "bool" else numbers
