"""A tensor as bytes and back, for every dtype that torch can view as bytes."""

import math

import torch

from morph_kernels.errors import MorphError


class TensorFormError(MorphError):
    """A tensor, or the description of one, that cannot be saved or loaded as plain bytes."""


def dtype_name(dtype: torch.dtype, path: str = "tensor") -> str:
    """Return `float32` for `torch.float32`.

    Raises:
        TensorFormError: the dtype carries more than its bytes (quantised).
    """
    name = str(dtype).removeprefix("torch.")
    if name.startswith("q"):
        raise TensorFormError(f"{path} has the quantised dtype {name}: save its integers and scales instead")
    return name


def parse_dtype(name: str) -> torch.dtype:
    """Return the dtype of the name.

    Raises:
        TensorFormError: torch has no such dtype.
    """
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or dtype_name(dtype) != name:
        raise TensorFormError(f"{name!r} is not a dtype of torch {torch.__version__}")
    return dtype


def tensor_size_bytes(dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    """Return how many bytes the elements take."""
    return math.prod(shape) * dtype.itemsize


def tensor_bytes(tensor: torch.Tensor) -> bytes:
    """Return the elements' bytes in row-major order."""
    if not tensor.numel():
        return b""
    # A fresh tensor: `contiguous` leaves the odd strides of a single element alone, and such a one has no byte view.
    plain = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())
    return plain.view(-1).view(torch.uint8).numpy().tobytes()


def tensor_from_bytes(data: bytes | bytearray | memoryview, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    """Return a tensor with its own memory.

    Raises:
        TensorFormError: the shape does not take this many bytes.
    """
    if any(size < 0 for size in shape) or tensor_size_bytes(dtype, shape) != len(data):
        raise TensorFormError(f"{len(data)} bytes are not a {dtype_name(dtype)} tensor of shape {list(shape)}")
    if not len(data):
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).view(dtype).reshape(shape)
