"""What training asks of whatever gives it kernels; `KernelLoader` is one."""

from typing import Protocol, cast

import torch.distributed as dist
from torch import nn

from morph_kernels.blueprint import Blueprint
from morph_kernels.checkpoint import EAGER, Graft
from morph_kernels.errors import MorphError


class KernelSource(Protocol):
    """Gives kernels, and changes their bodies only at a boundary."""

    def load(self, what: Blueprint | str, *, seed: int = 0) -> nn.Module:
        """Return a kernel at once: a module with the blueprint's parameters, whatever body it runs."""

    def load_pinned(self, blueprint: Blueprint, *, body: str) -> nn.Module:
        """Return a kernel that runs exactly this body: a kernel's digest, or `EAGER`.

        Raises:
            MorphError: the body is not to be had here.
        """

    def at_boundary(self, group: dist.ProcessGroup | None = None) -> object:
        """Exchange bodies where one is ready on all ranks."""


class _Kernel(Protocol):
    blueprint: Blueprint
    digest: str | None


class NotAKernelError(MorphError):
    """A module in a slot that does not say which blueprint it is."""


def graft_of(slot: str, kernel: nn.Module) -> Graft:
    """Return what a checkpoint must know of the kernel in a slot.

    Raises:
        NotAKernelError: the module has no blueprint.
    """
    blueprint = getattr(kernel, "blueprint", None)
    if not isinstance(blueprint, Blueprint):
        raise NotAKernelError(f"the module in slot {slot!r} has no blueprint, so it could not be rebuilt")
    body = cast("_Kernel", kernel).digest or EAGER
    return Graft(slot, blueprint.name, blueprint.digest, blueprint.to_bytes(), body)
