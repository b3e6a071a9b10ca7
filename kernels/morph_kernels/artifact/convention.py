"""How a kernel's libraries are called: what goes in, in which order, and what comes out."""

import re
from dataclasses import dataclass
from typing import Any

from morph_kernels.artifact.document import Fields, MalformedError
from morph_kernels.artifact.target import DTYPES, SYMBOL_PATTERN

STATE_NAME_PATTERN = re.compile(r"[A-Za-z0-9_.]{1,255}")
_GRADIENT_PATTERN = re.compile(r"[A-Za-z0-9_.]{0,255}")
_EXPRESSION_PATTERN = re.compile(r"[A-Za-z0-9_+*/()%, -]{1,200}")
_MAX_NAMES = 10_000
_MAX_TENSORS = 1_000
_MAX_RANK = 16
_MAX_SIZE = 2**40
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
class CallingConvention:
    """The order of everything that crosses the border between Python and the libraries.

    The forward library takes parameters, buffers, inputs, and returns `forward_outputs` tensors: the user's outputs
    first, then what it saved. The backward library takes the saved tensors, then the gradients of those outputs that
    require one, and returns one gradient for each of `gradient_inputs` ("" where there is none).
    """

    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    inputs: tuple[InputRule, ...]
    outputs: tuple[OutputRule, ...]
    mutated_buffers: tuple[str, ...]
    forward_outputs: int
    gradient_inputs: tuple[str, ...]

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object that stands in the manifest."""
        return {
            "buffers": list(self.buffers),
            "forward_outputs": self.forward_outputs,
            "gradient_inputs": list(self.gradient_inputs),
            "inputs": [rule.to_document() for rule in self.inputs],
            "mutated_buffers": list(self.mutated_buffers),
            "outputs": [rule.to_document() for rule in self.outputs],
            "parameters": list(self.parameters),
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
            forward_outputs=fields.integer("forward_outputs", low=1, high=100_000),
            gradient_inputs=fields.names("gradient_inputs", _GRADIENT_PATTERN, max_items=3 * _MAX_NAMES),
        )
        fields.close()
        problem = convention.find_contradiction()
        if problem is not None:
            raise MalformedError(_WHAT, problem)
        return convention

    def find_contradiction(self) -> str | None:
        """Return what the fields say against each other, or None."""
        state = (*self.parameters, *self.buffers)
        inputs = [rule.name for rule in self.inputs]
        if len(set(state)) != len(state) or len(set(inputs)) != len(inputs):
            return "a name stands twice"
        if not set(self.mutated_buffers) <= set(self.buffers):
            return "a mutated buffer is not among the buffers"
        if not set(self.gradient_inputs) <= {"", *state, *inputs}:
            return "a gradient is for something that is no input"
        if not 1 <= len(self.outputs) <= self.forward_outputs:
            return "the forward library returns fewer tensors than the outputs"
        return None


def _parse_shape(fields: Fields) -> Shape:
    def read(size: Any) -> int | str:
        number = type(size) is int and 0 <= size <= _MAX_SIZE
        if not number and not (isinstance(size, str) and _EXPRESSION_PATTERN.fullmatch(size)):
            fields.refuse("shape")
        return size  # type: ignore[no-any-return]  # one of the two, as just checked

    return fields.items("shape", read, max_items=_MAX_RANK)
