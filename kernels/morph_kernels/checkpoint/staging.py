"""Copies tensors into a preallocated buffer, so that training may change them the moment a save returns."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from morph_kernels.checkpoint.dtypes import TensorFormError, dtype_name, tensor_size_bytes

# Every dtype can be viewed at such an offset, and no two tensors share a cache line.
_ALIGNMENT = 64


@dataclass(frozen=True)
class StagedTensor:
    """A tensor's form, and its bytes in the arena: valid until the arena stages again."""

    dtype: str
    shape: tuple[int, ...]
    data: memoryview


class Arena:
    """One buffer that grows to the largest state seen and is used again for each save."""

    def __init__(self) -> None:
        self._buffer = torch.empty(0, dtype=torch.uint8)

    @property
    def capacity_bytes(self) -> int:
        """How much the arena can hold without growing."""
        return self._buffer.numel()

    def stage(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, StagedTensor]:
        """Copy the tensors, from any device, in row-major order.

        Raises:
            TensorFormError: a tensor has no plain bytes (sparse, quantised, on `meta`).
        """
        for name, tensor in tensors.items():
            _check_plain(name, tensor)
        offsets, end = {}, 0
        for name, tensor in tensors.items():
            offsets[name] = end
            end += -(-tensor_size_bytes(tensor.dtype, tuple(tensor.shape)) // _ALIGNMENT) * _ALIGNMENT
        if end > self.capacity_bytes:
            self._buffer = torch.empty(end, dtype=torch.uint8)
        whole = memoryview(self._buffer.numpy())  # type: ignore[arg-type]  # numpy arrays are buffers; its stubs for 3.11 do not say so
        return {name: self._copy(tensor, offsets[name], whole) for name, tensor in tensors.items()}

    def _copy(self, tensor: torch.Tensor, offset: int, whole: memoryview) -> StagedTensor:
        shape = tuple(tensor.shape)
        size = tensor_size_bytes(tensor.dtype, shape)
        if size:
            self._buffer[offset : offset + size].view(tensor.dtype).view(shape).copy_(tensor.detach())
        return StagedTensor(dtype_name(tensor.dtype), shape, whole[offset : offset + size])


def _check_plain(name: str, tensor: torch.Tensor) -> None:
    dtype_name(tensor.dtype, name)
    if tensor.layout is not torch.strided or tensor.is_meta:
        raise TensorFormError(f"{name} is {tensor.layout} on {tensor.device}: only dense tensors have bytes to save")
