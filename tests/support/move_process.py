"""A process that moves a kernel and dies on the way: `python -m tests.support.move_process DIGEST TO CHANGE MOMENT`.

It kills itself `before` or `after` its nth change of the two stores or of the log, counted from one.
"""

import os
import signal
import sys
from typing import Any

from morph_assets.platform import Platform
from morph_assets.registry.artifacts import Place
from morph_assets.usecases import move_kernel as moving
from morph_kernels.identity import KernelDigest

LEASE_S = 0.5


class Fate:
    """Counts changes, and kills the process beside one of them."""

    def __init__(self, change: int, moment: str) -> None:
        self._left, self._moment = change, moment

    def change(self, work: Any) -> Any:
        """Do the work, or die before or after it."""
        self._left -= 1
        if self._left == 0 and self._moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = work()
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done


class DyingStore:
    """A store whose changes may be the last."""

    def __init__(self, store: Any, fate: Fate) -> None:
        self._store, self._fate = store, fate

    def __getattr__(self, name: str) -> Any:
        """Everything else is the store's own."""
        return getattr(self._store, name)

    def put_if_absent(self, key: Any, data: Any) -> bool:
        """Store, or die."""
        return bool(self._fate.change(lambda: self._store.put_if_absent(key, data)))

    def delete(self, key: Any) -> None:
        """Delete, or die."""
        self._fate.change(lambda: self._store.delete(key))


def main(digest: KernelDigest, to: Place, change: int, moment: str) -> None:
    """Move the kernel, up to that change."""
    fate = Fate(change, moment)
    tell = moving.tell_artifact
    moving.tell_artifact = lambda *told, **facts: fate.change(lambda: tell(*told, **facts))
    with Platform.connect() as platform:
        connections = platform.connections
        connections._store = DyingStore(connections.main_store, fate)
        connections._cold = DyingStore(connections.cold_store, fate)
        moving.move_kernel(connections, digest, to, reason="test", lease_s=LEASE_S)


if __name__ == "__main__":
    main(KernelDigest(sys.argv[1]), "cold" if sys.argv[2] == "cold" else "store", int(sys.argv[3]), sys.argv[4])
