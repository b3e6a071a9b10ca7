"""How a kernel's libraries are called: what goes in, in which order, and what comes out."""

import itertools
import re
from dataclasses import dataclass, field
from typing import Any

from morph_kernels.artifact.document import Fields, MalformedError
from morph_kernels.artifact.target import DTYPES, SYMBOL_PATTERN, Ranges, parse_ranges

STATE_NAME_PATTERN = re.compile(r"[A-Za-z0-9_.]{1,255}")
_EXPRESSION_PATTERN = re.compile(r"[A-Za-z0-9_+*/()%, -]{1,200}")
_MAX_NAMES = 10_000
_MAX_TENSORS = 1_000
_MAX_RANK = 16
_MAX_SIZE = 2**40
_MAX_LIBRARY_OUTPUTS = 100_000
_SOURCES = frozenset({"input", "library", "output"})
_WHAT = "calling convention"

Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class InputRule:
    """What one input must look like; a size is a number, a symbol or an integer expression of symbols."""

    name: str
    dtype: str
    shape: Shape

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object of the rule."""
        return {"dtype": self.dtype, "name": self.name, "shape": list(self.shape)}

    @classmethod
    def from_document(cls, document: Any) -> "InputRule":
        """Read the object that `to_document` writes, or raise `MalformedError`."""
        fields = Fields(document, what=f"{_WHAT} input")
        rule = cls(fields.text("name", SYMBOL_PATTERN), fields.choice("dtype", DTYPES), _parse_shape(fields))
        fields.close()
        return rule


@dataclass(frozen=True)
class OutputRule:
    """What one output looks like and whether a gradient flows through it."""

    dtype: str
    shape: Shape
    requires_grad: bool

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object of the rule."""
        return {"dtype": self.dtype, "requires_grad": self.requires_grad, "shape": list(self.shape)}

    @classmethod
    def from_document(cls, document: Any) -> "OutputRule":
        """Read the object that `to_document` writes, or raise `MalformedError`."""
        fields = Fields(document, what=f"{_WHAT} output")
        rule = cls(fields.choice("dtype", DTYPES), _parse_shape(fields), fields.boolean("requires_grad"))
        fields.close()
        return rule


@dataclass(frozen=True)
class SavedRule:
    """Where a tensor that the backward needs comes from.

    `source` is "input" (the caller's tensor at a position), "output" (the user's output of an index) or "library" (the
    library's output of an index). Inputs and outputs are kept as they are, so that autograd sees a change in place.
    """

    source: str
    index: int

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object of the rule."""
        return {"index": self.index, "source": self.source}

    @classmethod
    def from_document(cls, document: Any) -> "SavedRule":
        """Read the object that `to_document` writes, or raise `MalformedError`."""
        fields = Fields(document, what=f"{_WHAT} saved tensor")
        rule = cls(fields.choice("source", _SOURCES), fields.integer("index", high=_MAX_LIBRARY_OUTPUTS))
        fields.close()
        return rule


@dataclass(frozen=True)
class CallingConvention:
    """The order of everything that crosses the border between Python and the libraries.

    The forward library takes parameters, buffers, inputs: their places in this order are *positions*. It returns
    `forward_outputs` tensors: the user's outputs first, then what it made for the backward. The backward library takes
    the `saved` tensors, then the gradients of those outputs that require one, and returns one gradient for each
    position in `gradients`. The memory at the `watched` positions is shared by saved views: it must not change before
    the backward. `ranges` are the sizes, both ends included, for which the generated code is right.
    """

    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    inputs: tuple[InputRule, ...]
    outputs: tuple[OutputRule, ...]
    mutated_buffers: tuple[str, ...]
    forward_outputs: int
    saved: tuple[SavedRule, ...]
    watched: tuple[int, ...]
    gradients: tuple[int, ...]
    ranges: Ranges = field(hash=False)

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object that stands in the manifest."""
        return {
            "buffers": list(self.buffers),
            "forward_outputs": self.forward_outputs,
            "gradients": list(self.gradients),
            "inputs": [rule.to_document() for rule in self.inputs],
            "mutated_buffers": list(self.mutated_buffers),
            "outputs": [rule.to_document() for rule in self.outputs],
            "parameters": list(self.parameters),
            "ranges": {symbol: [low, high] for symbol, (low, high) in self.ranges.items()},
            "saved": [rule.to_document() for rule in self.saved],
            "watched": list(self.watched),
        }

    @classmethod
    def from_document(cls, document: Any) -> "CallingConvention":
        """Read the object that `to_document` writes.

        Raises:
            MalformedError: a field is missing, unknown or wrong, or the fields contradict each other.
        """
        fields = Fields(document, what=_WHAT)
        convention = cls(
            parameters=fields.names("parameters", STATE_NAME_PATTERN, max_items=_MAX_NAMES),
            buffers=fields.names("buffers", STATE_NAME_PATTERN, max_items=_MAX_NAMES),
            inputs=fields.items("inputs", InputRule.from_document, max_items=_MAX_TENSORS),
            outputs=fields.items("outputs", OutputRule.from_document, max_items=_MAX_TENSORS),
            mutated_buffers=fields.names("mutated_buffers", STATE_NAME_PATTERN, max_items=_MAX_NAMES),
            forward_outputs=fields.integer("forward_outputs", low=1, high=_MAX_LIBRARY_OUTPUTS),
            saved=fields.items("saved", SavedRule.from_document, max_items=_MAX_LIBRARY_OUTPUTS),
            watched=_parse_positions(fields, "watched"),
            gradients=_parse_positions(fields, "gradients"),
            ranges=parse_ranges(fields),
        )
        fields.close()
        problem = convention.find_contradiction()
        if problem is not None:
            raise MalformedError(_WHAT, problem)
        return convention

    @property
    def positions(self) -> int:
        """How many tensors the forward library takes."""
        return len(self.parameters) + len(self.buffers) + len(self.inputs)

    def find_contradiction(self) -> str | None:
        """Return what the fields say against each other, or None."""
        state = (*self.parameters, *self.buffers)
        inputs = [rule.name for rule in self.inputs]
        if len(set(state)) != len(state) or len(set(inputs)) != len(inputs):
            return "a name stands twice"
        if not set(self.mutated_buffers) <= set(self.buffers):
            return "a mutated buffer is not among the buffers"
        if any(position >= self.positions for position in (*self.watched, *self.gradients)):
            return "a position lies beyond the inputs"
        if not 1 <= len(self.outputs) <= self.forward_outputs:
            return "the forward library returns fewer tensors than the outputs"
        ends = {"input": self.positions, "output": len(self.outputs), "library": self.forward_outputs}
        if any(rule.index >= ends[rule.source] for rule in self.saved):
            return "a saved tensor comes from nowhere"
        return None


def _parse_positions(fields: Fields, key: str) -> tuple[int, ...]:
    """Read positions that rise strictly, so that none stands twice."""

    def read(position: Any) -> int:
        if type(position) is not int or not 0 <= position <= 3 * _MAX_NAMES:
            fields.refuse(key)
        return int(position)

    positions = fields.items(key, read, max_items=3 * _MAX_NAMES)
    if any(left >= right for left, right in itertools.pairwise(positions)):
        fields.refuse(key)
    return positions


def _parse_shape(fields: Fields) -> Shape:
    def read(size: Any) -> int | str:
        number = type(size) is int and 0 <= size <= _MAX_SIZE
        if not number and not (isinstance(size, str) and _EXPRESSION_PATTERN.fullmatch(size)):
            fields.refuse("shape")
        return size  # type: ignore[no-any-return]  # one of the two, as just checked

    return fields.items("shape", read, max_items=_MAX_RANK)
