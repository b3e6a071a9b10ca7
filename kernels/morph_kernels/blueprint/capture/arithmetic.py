"""Calls that compute element by element, between values, and between sizes that depend on symbols."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from morph_kernels.blueprint.capture.recorder import Recorder, Ref, Size
from morph_kernels.blueprint.expressions import Operator, combine
from morph_kernels.blueprint.ops.functions import UNARY

Handler = Callable[..., Any]


def _unary(op: str) -> Handler:
    def handle(c: Recorder, input: Ref, inplace: bool = False) -> Ref:  # noqa: A002  torch's argument name
        if inplace:
            c.refuse("inplace=True changes a value that may be used again; leave it out")
        return c.emit(op, op, [input])

    return handle


def _arithmetic(op: str, sign: Operator | None) -> Handler:
    def handle(c: Recorder, input: Any, other: Any, alpha: int = 1) -> Any:  # noqa: A002  torch's argument name
        if alpha != 1:
            c.refuse("alpha is not supported; multiply first")
        if isinstance(input, Ref) and isinstance(other, Ref):
            return c.emit(op, op, [input, other])
        if isinstance(input, Ref):
            return _with_scalar(c, op, input, other)
        if isinstance(other, Ref):
            return _from_scalar(c, op, input, other)
        return _sizes(c, sign, input, other)

    return handle


def _with_scalar(c: Recorder, op: str, tensor: Ref, number: Any) -> Ref:
    if not isinstance(number, int | float):
        c.refuse(f"{op} with {said(number)} is not supported; use a number or another value")
    if op == "sub":
        return c.emit(op, "add_scalar", [tensor], value=-number)
    return c.emit(op, f"{op}_scalar", [tensor], value=number)


def _from_scalar(c: Recorder, op: str, number: Any, tensor: Ref) -> Ref:
    if op in {"add", "mul"}:
        return _with_scalar(c, op, tensor, number)
    if op == "sub":
        return _with_scalar(c, "add", c.emit("neg", "neg", [tensor]), number)
    return c.refuse(f"{op} of a number by a value is not supported")


def _sizes(c: Recorder, sign: Operator | None, left: Any, right: Any) -> Any:
    if sign is None:
        c.refuse(f"sizes that depend on symbols take + - * // only, not {said(left)} and {said(right)}")
    if not all(isinstance(side, int | Size) for side in (left, right)):
        c.refuse(f"sizes take integers only, not {said(left)} and {said(right)}")
    plain = [side.expression if isinstance(side, Size) else side for side in (left, right)]
    try:
        return Size(combine(sign, plain[0], plain[1]))
    except ValueError as error:
        return c.refuse(str(error))


def _floordiv(c: Recorder, left: Any, right: Any) -> Any:
    if isinstance(left, Ref) or isinstance(right, Ref):
        c.refuse("// is allowed on sizes only")
    return _sizes(c, "//", left, right)


def _gelu(c: Recorder, input: Ref, approximate: str = "none") -> Ref:  # noqa: A002  torch's argument name
    return c.emit("gelu", "gelu", [input], approximate=approximate)


def _pow(c: Recorder, input: Ref, exponent: Any) -> Ref:  # noqa: A002  torch's argument name
    return _with_scalar(c, "pow", input, exponent)


def _softmax(op: str) -> Handler:
    def handle(c: Recorder, input: Ref, dim: int, _stacklevel: int = 3, dtype: Any = None) -> Ref:  # noqa: A002
        if dtype is not None:
            c.refuse("dtype is not supported")
        return c.emit(op, op, [input], dim=dim)

    return handle


def _matmul(c: Recorder, input: Ref, other: Ref) -> Ref:  # noqa: A002  torch's argument name
    return c.emit("matmul", "matmul", [input, other])


def _attention(  # noqa: PLR0917  torch's own signature
    c: Recorder,
    query: Ref,
    key: Ref,
    value: Ref,
    attn_mask: Ref | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Ref:
    if dropout_p != 0.0 or enable_gqa:
        c.refuse("dropout_p and enable_gqa are not supported; use nn.Dropout on the result")
    op = "scaled_dot_product_attention"
    operands = [query, key, value, *([attn_mask] if attn_mask is not None else [])]
    extra = {} if scale is None else {"scale": scale}
    return c.emit("attention", op, operands, is_causal=is_causal, **extra)


def said(value: object) -> str:
    """Return a short picture of a traced argument."""
    return "a size" if isinstance(value, Size) else repr(value)


ARITHMETIC: Final[Mapping[str, Handler]] = {
    **{name: _unary(name) for name in UNARY},
    "add": _arithmetic("add", "+"),
    "sub": _arithmetic("sub", "-"),
    "mul": _arithmetic("mul", "*"),
    "div": _arithmetic("div", None),
    "truediv": _arithmetic("div", None),
    "floordiv": _floordiv,
    "pow": _pow,
    "gelu": _gelu,
    "softmax": _softmax("softmax"),
    "log_softmax": _softmax("log_softmax"),
    "matmul": _matmul,
    "bmm": _matmul,
    "scaled_dot_product_attention": _attention,
}
