"""Integer shape expressions: `2*seq`, `height//2`, `(batch*seq)`. Never evaluated by Python itself."""

import ast
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from morph_kernels.blueprint.limits import MAX_DIMENSION, MAX_EXPRESSION_CHARS

Operator = Literal["+", "-", "*", "//"]
_ALLOWED: Final = "integers, symbols, + - * and // by a positive integer"
_CHARACTERS: Final = re.compile(r"[a-z0-9_+\-*/() ]+")
_SYMBOL: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_OPERATORS: Final[dict[type[ast.operator], Operator]] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.FloorDiv: "//",
}
_PRECEDENCE: Final[dict[str, int]] = {"+": 1, "-": 1, "*": 2, "//": 2}


class ExpressionError(ValueError):
    """A text that is not an integer shape expression; the caller adds the place."""


@dataclass(frozen=True)
class Operation:
    """Two operands and what is done with them."""

    operator: Operator
    left: "Expression"
    right: "Expression"


Expression = int | str | Operation


def is_symbol(text: str) -> bool:
    """Return whether the text may name a symbol."""
    return _SYMBOL.fullmatch(text) is not None and not keyword.iskeyword(text)


def parse_expression(text: str) -> Expression:
    """Parse an expression from untrusted text.

    Raises:
        ExpressionError: the text is too long or says more than integers, symbols, + - * and //.
    """
    if len(text) > MAX_EXPRESSION_CHARS:
        raise ExpressionError(f"is longer than {MAX_EXPRESSION_CHARS} characters")
    if not _CHARACTERS.fullmatch(text):
        raise ExpressionError(f"{text!r} is not an expression of {_ALLOWED}")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ExpressionError(f"{text!r} is not an expression of {_ALLOWED}") from None
    return _convert(tree.body, text)


def _convert(node: ast.expr, text: str) -> Expression:
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            if value > MAX_DIMENSION:
                raise ExpressionError(f"{text!r} has an integer beyond {MAX_DIMENSION}")
            return value
        case ast.Name(id=name) if is_symbol(name):
            return name
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in _OPERATORS:
            return combine(_OPERATORS[type(operator)], _convert(left, text), _convert(right, text))
    raise ExpressionError(f"{text!r} is not an expression of {_ALLOWED}")


def combine(operator: Operator, left: Expression, right: Expression) -> Expression:
    """Return the operation on the operands, folded where both are integers.

    Raises:
        ExpressionError: a division by anything but a positive integer.
    """
    if operator == "//" and not (isinstance(right, int) and right > 0):
        raise ExpressionError(f"// needs a positive integer on its right, not {render(right)}")
    if isinstance(left, int) and isinstance(right, int):
        return int(_apply(operator, left, right))
    return Operation(operator, left, right)


def evaluate(expression: Expression, sizes: Mapping[str, Any]) -> Any:
    """Return the value at the sizes: an int, or whatever stands for one while a tracer watches."""
    if isinstance(expression, Operation):
        return _apply(expression.operator, evaluate(expression.left, sizes), evaluate(expression.right, sizes))
    return sizes[expression] if isinstance(expression, str) else expression


def symbols_of(expression: Expression) -> frozenset[str]:
    """Return the symbols that the expression mentions."""
    if isinstance(expression, Operation):
        return symbols_of(expression.left) | symbols_of(expression.right)
    return frozenset([expression]) if isinstance(expression, str) else frozenset()


def render(expression: Expression) -> str:
    """Return the one text of an expression: no spaces, and only the brackets that it needs."""
    if not isinstance(expression, Operation):
        return str(expression)
    rank = _PRECEDENCE[expression.operator]
    left, right = render(expression.left), render(expression.right)
    if isinstance(expression.left, Operation) and _PRECEDENCE[expression.left.operator] < rank:
        left = f"({left})"
    # Left-associative: a right operand of the same rank keeps its brackets.
    if isinstance(expression.right, Operation) and _PRECEDENCE[expression.right.operator] <= rank:
        right = f"({right})"
    return f"{left}{expression.operator}{right}"


def canonical_dimension(expression: Expression) -> int | str:
    """Return a dimension as it stands in a document: an integer, or the text of an expression."""
    return expression if isinstance(expression, int) else render(expression)


def _apply(operator: Operator, left: Any, right: Any) -> Any:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "//":
            return left // right
