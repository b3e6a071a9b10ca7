"""The kinds of attribute: each reads one untrusted value and says what is allowed."""

from functools import partial
from typing import Any, Final

from morph_kernels.blueprint.cursor import Cursor
from morph_kernels.blueprint.expressions import (
    Expression,
    ExpressionError,
    canonical_dimension,
    parse_expression,
)
from morph_kernels.blueprint.limits import MAX_DIMENSION, MAX_OPERANDS, MAX_RANK
from morph_kernels.blueprint.ops.spec import REQUIRED, Attribute

SHAPE_ATTRIBUTE: Final = "shape"  # the one attribute that may hold symbols
_LARGEST: Final = 3.0e38


def integer(least: int, most: int = MAX_DIMENSION, default: Any = REQUIRED) -> Attribute:
    """An integer within bounds."""
    return Attribute(lambda cursor: cursor.integer(least, most), default)


def number(least: float = -_LARGEST, most: float = _LARGEST, default: Any = REQUIRED) -> Attribute:
    """A finite number within bounds."""
    return Attribute(lambda cursor: cursor.number(least, most), default)


def flag(default: Any = REQUIRED) -> Attribute:
    """A boolean."""
    return Attribute(Cursor.flag, default)


def choice(*allowed: str, default: Any = REQUIRED) -> Attribute:
    """One of a few words."""
    return Attribute(lambda cursor: cursor.choice(*allowed), default)


def integers(least: int, most: int, *, fewest: int = 1, longest: int = MAX_RANK, default: Any = REQUIRED) -> Attribute:
    """A list of integers within bounds."""
    return Attribute(partial(_integers, least=least, most=most, fewest=fewest, longest=longest), default)


def repeated(count: int, least: int, most: int, default: Any = REQUIRED) -> Attribute:
    """`count` integers; a single one stands for all of them."""
    return Attribute(partial(_repeated, count=count, least=least, most=most), default)


def shape(default: Any = REQUIRED) -> Attribute:
    """A list of sizes, each an integer or an integer expression of symbols."""
    return Attribute(read_shape, default)


def read_shape(cursor: Cursor) -> tuple[int | str, ...]:
    """Return a shape in canonical form."""
    return tuple(canonical_dimension(read_dimension(item)) for item in cursor.items(most=MAX_RANK))


def read_dimension(cursor: Cursor) -> Expression:
    """Return one size: a positive integer, a symbol or an expression."""
    if isinstance(cursor.value, str):
        try:
            expression = parse_expression(cursor.value)
        except ExpressionError as error:
            cursor.fail(str(error))
        if not isinstance(expression, int):
            return expression
        cursor = Cursor(cursor.source, expression, cursor.path, cursor.label)
    return cursor.integer(1, MAX_DIMENSION)


def _integers(cursor: Cursor, *, least: int, most: int, fewest: int, longest: int) -> tuple[int, ...]:
    return tuple(item.integer(least, most) for item in cursor.items(least=fewest, most=min(longest, MAX_OPERANDS)))


def _repeated(cursor: Cursor, *, count: int, least: int, most: int) -> tuple[int, ...]:
    if isinstance(cursor.value, list):
        return _integers(cursor, least=least, most=most, fewest=count, longest=count)
    return (cursor.integer(least, most),) * count
