"""A process that dies while it works on a kernel: `python -m tests.support.dying_process WORK DIGEST CHANGE MOMENT`.

WORK is `purge`, `move-to-cold` or `move-to-store`. The process kills itself `before` or `after` its nth change of the
stores, counted from one; what it does in the registry lies between two of them.
"""

import os
import signal
import sys
from typing import Any

from morph_assets.connections import Connections
from morph_assets.platform import Platform
from morph_assets.usecases.move_kernel import move_kernel
from morph_assets.usecases.purge_kernel import purge_kernel
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


def work_on(connections: Connections, work: str, digest: KernelDigest) -> None:
    """Do what the first word says."""
    if work == "purge":
        purge_kernel(connections, digest, lease_s=LEASE_S)
    else:
        to = "cold" if work == "move-to-cold" else "store"
        move_kernel(connections, digest, to, reason="test", lease_s=LEASE_S)


def main(work: str, digest: KernelDigest, fate: Fate) -> None:
    """Work on the kernel, up to that change."""
    with Platform.connect() as platform:
        connections = platform.connections
        main_store, cold_store = connections.main_store, connections.cold_store
        connections._store = DyingStore(main_store, fate)
        connections._cold = None if cold_store is None else DyingStore(cold_store, fate)
        work_on(connections, work, digest)


if __name__ == "__main__":
    main(sys.argv[1], KernelDigest(sys.argv[2]), Fate(int(sys.argv[3]), sys.argv[4]))
