"""The kernel modules that a loader gave out, until nobody holds them any more."""

import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass

from morph_kernels.loader.boundary import EAGER
from morph_kernels.loader.module import KernelModule


@dataclass(frozen=True)
class Slot:
    """One module. A pinned one keeps its body at every boundary."""

    name: str
    module: "weakref.ref[KernelModule]"
    pinned: bool = False

    def current(self) -> str:
        """Return the body that the module runs: a digest, or `EAGER`."""
        module = self.module()
        return (module.digest if module is not None else None) or EAGER


class Slots:
    """Slots in the order in which they were filled, which is the same on all ranks of a job."""

    def __init__(self) -> None:
        # A controller may load on one thread while another counts or exchanges.
        self._lock = threading.Lock()
        self._slots: list[Slot] = []
        self._count = 0

    def add(self, module: KernelModule, *, pinned: bool = False) -> Slot:
        """Remember a module that was given out."""
        with self._lock:
            slot = Slot(f"{self._count}:{module.blueprint.name}", weakref.ref(module), pinned)
            self._count += 1
            self._slots.append(slot)
            return slot

    def alive(self) -> Iterator[tuple[Slot, KernelModule]]:
        """Yield the slots whose modules somebody still holds, and forget the others."""
        with self._lock:
            held = [(slot, slot.module()) for slot in self._slots]
            self._slots = [slot for slot, module in held if module is not None]
        return iter([(slot, module) for slot, module in held if module is not None])
