"""The kernel modules that a loader gave out: what each could run instead, until nobody holds it any more."""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field

from morph_kernels.artifact.index import Variant
from morph_kernels.identity import KernelDigest
from morph_kernels.loader.boundary import EAGER
from morph_kernels.loader.module import KernelModule


@dataclass
class Slot:
    """One module and what the loader knows about it. A pinned one keeps its body at every boundary."""

    name: str
    module: "weakref.ref[KernelModule]"
    variants: tuple[Variant, ...] = ()
    pinned: bool = False

    def current(self) -> str:
        """Return the body that the module runs: a digest, or `EAGER`."""
        module = self.module()
        return (module.digest if module is not None else None) or EAGER


@dataclass
class Slots:
    """Slots in the order in which they were filled, which is the same on all ranks of a job."""

    _slots: list[Slot] = field(default_factory=list)
    _count: int = 0

    def add(self, module: KernelModule, variants: tuple[Variant, ...], *, pinned: bool = False) -> Slot:
        """Remember a module that was given out."""
        slot = Slot(f"{self._count}:{module.blueprint.name}", weakref.ref(module), variants, pinned)
        self._count += 1
        self._slots.append(slot)
        return slot

    def alive(self) -> Iterator[tuple[Slot, KernelModule]]:
        """Yield the slots whose modules somebody still holds, and forget the others."""
        held = [(slot, slot.module()) for slot in self._slots]
        self._slots = [slot for slot, module in held if module is not None]
        return iter([(slot, module) for slot, module in held if module is not None])

    def revoked(self, digests: frozenset[KernelDigest]) -> list[Slot]:
        """Return the slots that run one of these kernels."""
        return [slot for slot, module in self.alive() if module.digest in digests]
