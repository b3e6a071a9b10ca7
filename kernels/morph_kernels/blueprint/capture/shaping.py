"""Calls that move, split, join, index, reduce or pool values, and those that ask for their sizes."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from morph_kernels.blueprint.capture.arithmetic import Handler, said
from morph_kernels.blueprint.capture.recorder import Recorder, Ref, Size


def _flat(items: tuple[Any, ...]) -> list[Any]:
    return list(items[0]) if len(items) == 1 and isinstance(items[0], list | tuple) else list(items)


def _reshape(c: Recorder, input: Ref, *shape: Any) -> Ref:  # noqa: A002  torch's argument name
    wanted = _flat(shape)
    if any(not isinstance(size, int | Size) for size in wanted):
        c.refuse(f"a shape holds integers and sizes, not {said(wanted)}")
    return c.emit("reshape", "reshape", [input], shape=_whole(c, input, wanted))


def _whole(c: Recorder, ref: Ref, shape: list[Any]) -> list[Any]:
    if shape.count(-1) > 1:
        c.refuse("a shape holds one -1 at most")
    return [c.missing_size(ref, shape) if size == -1 else size for size in shape]


def _expand(c: Recorder, input: Ref, *shape: Any) -> Ref:  # noqa: A002  torch's argument name
    wanted = _flat(shape)
    lead = len(wanted) - c.rank(input)
    found = [c.size(input, at - lead) if size == -1 and at >= lead else size for at, size in enumerate(wanted)]
    return c.emit("expand", "expand", [input], shape=found)


def _flatten(c: Recorder, input: Ref, start_dim: int = 0, end_dim: int = -1) -> Ref:  # noqa: A002
    return c.emit("flatten", "flatten", [input], start_dim=start_dim, end_dim=end_dim)


def _permute(c: Recorder, input: Ref, *dims: Any) -> Ref:  # noqa: A002  torch's argument name
    return c.emit("permute", "permute", [input], dims=_flat(dims))


def _transpose(c: Recorder, input: Ref, dim0: int, dim1: int) -> Ref:  # noqa: A002
    return c.emit("transpose", "transpose", [input], dim0=dim0, dim1=dim1)


def _unsqueeze(c: Recorder, input: Ref, dim: int) -> Ref:  # noqa: A002  torch's argument name
    return c.emit("unsqueeze", "unsqueeze", [input], dim=dim)


def _squeeze(c: Recorder, input: Ref, dim: int) -> Ref:  # noqa: A002  torch's argument name
    return c.emit("squeeze", "squeeze", [input], dim=dim)


def _cat(c: Recorder, tensors: Sequence[Ref], dim: int = 0) -> Ref:
    return c.emit("cat", "cat", list(tensors), dim=dim)


def _chunk(c: Recorder, input: Ref, chunks: int, dim: int = 0) -> Ref:  # noqa: A002
    return c.emit("chunk", "chunk", [input], chunks=chunks, dim=dim)


def _split(c: Recorder, input: Ref, split_size_or_sections: Any, dim: int = 0) -> Ref:  # noqa: A002
    sizes = split_size_or_sections
    if isinstance(sizes, int):
        whole = c.size(input, dim)
        if isinstance(whole, Size) or sizes < 1:
            c.refuse("split needs a dimension of fixed size and a positive size")
        sizes = [min(sizes, whole - start) for start in range(0, whole, sizes)]
    return c.emit("split", "split", [input], sizes=list(sizes), dim=dim)


def _unbind(c: Recorder, input: Ref, dim: int = 0) -> tuple[Ref, ...]:  # noqa: A002
    count = c.size(input, dim)
    if isinstance(count, Size):
        c.refuse("unbind needs a dimension of fixed size")
    return tuple(_select(c, input, dim, index) for index in range(count))


def _select(c: Recorder, ref: Ref, dim: int, index: int) -> Ref:
    at = _from_front(c, ref, dim, index)
    return c.emit("select", "squeeze", [c.emit("narrow", "narrow", [ref], dim=dim, start=at, length=1)], dim=dim)


def _from_front(c: Recorder, ref: Ref, dim: int, index: int) -> int:
    if index >= 0:
        return index
    size = c.size(ref, dim)
    if isinstance(size, Size):
        c.refuse("a negative index needs a dimension of fixed size")
    return size + index


def _reduction(op: str) -> Handler:
    def handle(c: Recorder, input: Ref, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Ref:  # noqa: A002
        if dtype is not None:
            c.refuse("dtype is not supported")
        dims = list(range(c.rank(input))) if dim is None else [dim] if isinstance(dim, int) else list(dim)
        return c.emit(op, op, [input], dims=dims, keepdim=keepdim)

    return handle


def _pool(op: str) -> Handler:
    def handle(c: Recorder, input: Ref, kernel_size: Any, stride: Any = None, padding: Any = 0) -> Ref:  # noqa: A002
        return c.emit(op, op, [input], kernel_size=kernel_size, stride=stride or kernel_size, padding=padding)

    return handle


def _adaptive_pool(c: Recorder, input: Ref, output_size: Any) -> Ref:  # noqa: A002  torch's argument name
    return c.emit("pool", "adaptive_avg_pool2d", [input], output_size=output_size)


def _same(_: Recorder, input: Ref) -> Ref:  # noqa: A002  torch's argument name
    return input


def _shape_of(c: Recorder, input: Ref, dim: int | None = None) -> Any:  # noqa: A002  torch's argument name
    return c.size(input, dim) if dim is not None else tuple(c.size(input, at) for at in range(c.rank(input)))


def _getattr(c: Recorder, input: Ref, name: str) -> Any:  # noqa: A002
    match name:
        case "shape":
            return _shape_of(c, input)
        case "ndim":
            return c.rank(input)
        case "mT":
            return _transpose(c, input, -2, -1)
    return c.refuse(f"attribute {name!r} is not supported; allowed: shape, ndim, mT")


def _getitem(c: Recorder, input: Any, index: Any) -> Any:  # noqa: A002
    if isinstance(input, tuple):
        return input[index]
    if c.has_parts(input):
        if not isinstance(index, int) or index < 0:
            c.refuse("takes a part by a number from 0")
        return c.emit("getitem", "getitem", [input], index=index)
    return _slices(c, input, index if isinstance(index, tuple) else (index,))


def _slices(c: Recorder, ref: Ref, indices: tuple[Any, ...]) -> Ref:
    dim = 0
    for index in indices:
        match index:
            case int() if not isinstance(index, bool):
                ref = _select(c, ref, dim, index)
                continue
            case None:
                ref = _unsqueeze(c, ref, dim)
            case slice(start=None, stop=None, step=None):
                pass
            case slice(step=None):
                ref = _narrow(c, ref, dim, index)
            case _:
                c.refuse("an index holds integers, slices without a step, and None")
        dim += 1
    return ref


def _narrow(c: Recorder, ref: Ref, dim: int, index: slice) -> Ref:
    size = c.size(ref, dim)
    bounds = (index.start, index.stop)
    if isinstance(size, Size) or any(isinstance(bound, Size) for bound in bounds):
        c.refuse("a slice needs a dimension of fixed size and fixed bounds")
    start, stop, _ = index.indices(size)
    return c.emit("narrow", "narrow", [ref], dim=dim, start=start, length=max(stop - start, 0))


SHAPING: Final[Mapping[str, Handler]] = {
    "reshape": _reshape,
    "view": _reshape,
    "expand": _expand,
    "flatten": _flatten,
    "permute": _permute,
    "transpose": _transpose,
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    "cat": _cat,
    "concat": _cat,
    "chunk": _chunk,
    "split": _split,
    "unbind": _unbind,
    "mean": _reduction("mean"),
    "sum": _reduction("sum"),
    "amax": _reduction("amax"),
    "avg_pool2d": _pool("avg_pool2d"),
    "max_pool2d": _pool("max_pool2d"),
    "adaptive_avg_pool2d": _adaptive_pool,
    "contiguous": _same,
    "size": _shape_of,
    "getattr": _getattr,
    "getitem": _getitem,
}
