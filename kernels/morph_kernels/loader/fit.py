"""Whether one call fits a compiled body, and if not, why: the libraries themselves check only the number of inputs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.autograd import forward_ad

from morph_kernels.artifact.manifest import CallingConvention
from morph_kernels.blueprint import Interface
from morph_kernels.errors import MorphError
from morph_kernels.reasons import Reason

_PLAIN = frozenset({torch.Tensor, torch.nn.Parameter})


class InterfaceMismatchError(MorphError, ValueError):
    """The caller's tensors are not what the blueprint's interface says."""


class CallRules:
    """The conditions of one calling convention, in the form that is quickest to test at every call."""

    def __init__(self, convention: CallingConvention) -> None:
        self._dtypes = tuple(getattr(torch, rule.dtype) for rule in convention.inputs)
        self._fixed = tuple(
            tuple((dim, size) for dim, size in enumerate(rule.shape) if isinstance(size, int))
            for rule in convention.inputs
        )
        self._symbolic = tuple(
            tuple((dim, size) for dim, size in enumerate(rule.shape) if isinstance(size, str))
            for rule in convention.inputs
        )
        self._ranks = tuple(len(rule.shape) for rule in convention.inputs)
        self._ranges = dict(convention.ranges)

    def find_reason(self, inputs: Sequence[torch.Tensor]) -> Reason | None:
        """Return why the inputs do not fit the libraries, or None."""
        if len(inputs) != len(self._dtypes):
            return Reason.OUT_OF_RANGE
        for tensor, dtype in zip(inputs, self._dtypes, strict=True):
            reason = find_tensor_reason(tensor, dtype)
            if reason is not None:
                return reason
        return None if self._sizes_fit([tensor.shape for tensor in inputs]) else Reason.OUT_OF_RANGE

    def _sizes_fit(self, shapes: Sequence[torch.Size]) -> bool:
        sizes: dict[str, int] = {}
        for shape, rank, fixed, symbolic in zip(shapes, self._ranks, self._fixed, self._symbolic, strict=True):
            if len(shape) != rank or any(shape[dim] != size for dim, size in fixed):
                return False
            if any(sizes.setdefault(symbol, shape[dim]) != shape[dim] for dim, symbol in symbolic):
                return False
        return all(self._ranges[symbol][0] <= size <= self._ranges[symbol][1] for symbol, size in sizes.items())


def is_plain(tensor: Any) -> bool:
    """Return whether it is a tensor of torch's own class that is no nest of tensors."""
    return type(tensor) in _PLAIN and not tensor.is_nested


def find_tensor_reason(tensor: torch.Tensor, dtype: torch.dtype) -> Reason | None:
    """Return why one tensor's kind, device, dtype or memory does not fit, or None."""
    if not is_plain(tensor):
        return Reason.TENSOR_SUBCLASS
    if not tensor.is_cpu:
        return Reason.OTHER_DEVICE
    if tensor.dtype is not dtype:
        return Reason.OTHER_DTYPE
    if tensor.layout is not torch.strided or not tensor.is_contiguous() or tensor.is_neg() or tensor.is_conj():
        return Reason.STRIDES
    return None


def likeness_to(tensors: Sequence[torch.Tensor]) -> Callable[..., bool]:
    """Return one quick test of whether as many tensors are like these, so that what fitted then fits now.

    Alike are type, dtype, device, sizes, strides, `requires_grad` and the keys torch dispatches by; it is the guard of
    `torch.compile`, which costs a tenth of asking each tensor from Python. Tensors given twice are like none.
    """
    guards: Any = torch._C._dynamo.guards  # noqa: SLF001 - torch has no public name for it
    alike: Callable[..., bool] = guards.TensorGuards(
        *tensors,
        dynamic_dims_sizes=[list(tensor.shape) for tensor in tensors],
        dynamic_dims_strides=[list(tensor.stride()) for tensor in tensors],
    ).check
    return alike


def find_mode_reason(*, training: bool) -> Reason | None:
    """Return why the surrounding mode does not fit a training kernel, or None."""
    if not training:
        return Reason.EVAL_MODE
    if not torch.is_grad_enabled():
        return Reason.GRAD_DISABLED
    if torch.is_autocast_enabled("cpu"):
        return Reason.AUTOCAST
    return _find_interpreter_reason()


def _find_interpreter_reason() -> Reason | None:
    """Return which of torch's interpreters would have to see every operation, or None."""
    if torch._C._functorch.peek_interpreter_stack() is not None:  # noqa: SLF001 - the public functions import more
        return Reason.FUNCTORCH
    if forward_ad._current_level >= 0:  # noqa: SLF001 - torch has no public way to ask
        return Reason.FORWARD_AD
    if torch._C._len_torch_dispatch_stack():  # noqa: SLF001 - the same
        return Reason.DISPATCH_MODE
    return None


def check_interface(interface: Interface, inputs: Sequence[torch.Tensor]) -> None:
    """Check tensors against the interface itself, whatever body will run.

    Raises:
        InterfaceMismatchError: wrong number, rank, static size or symbol; the message names the input.
    """
    if len(inputs) != len(interface.inputs):
        raise InterfaceMismatchError(f"{len(inputs)} inputs given, the interface has {len(interface.inputs)}")
    sizes: dict[str, int] = {}
    for spec, tensor in zip(interface.inputs, inputs, strict=True):
        if not isinstance(tensor, torch.Tensor):
            raise InterfaceMismatchError(f"input {spec.name!r} is a {type(tensor).__name__}, not a tensor")
        if tensor.is_nested and tensor.layout is torch.strided:
            raise InterfaceMismatchError(f"input {spec.name!r} is a nested tensor, expected the shape {spec.shape}")
        if tensor.dim() != len(spec.shape):
            raise InterfaceMismatchError(f"input {spec.name!r} has shape {list(tensor.shape)}, expected {spec.shape}")
        for expected, size in zip(spec.shape, tensor.shape, strict=True):
            _check_size(spec.name, expected, size, sizes, interface)


def _check_size(name: str, expected: int | str, size: int, sizes: dict[str, int], interface: Interface) -> None:
    if isinstance(expected, int):
        if size != expected:
            raise InterfaceMismatchError(f"input {name!r} has a size of {size} where {expected} is due")
        return
    known: Mapping[str, int] = sizes
    if known.get(expected, size) != size:
        raise InterfaceMismatchError(f"input {name!r}: {expected!r} is {size} here and {known[expected]} elsewhere")
    allowed = interface.symbols.get(expected)
    if allowed is not None and not allowed.min <= size <= allowed.max:
        raise InterfaceMismatchError(f"input {name!r}: {expected}={size} is outside {allowed.min}..{allowed.max}")
    sizes[expected] = size
