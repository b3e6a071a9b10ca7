"""A process that removes a kernel and dies on the way: `python -m tests.support.purge_process DIGEST CHANGE MOMENT`.

It kills itself `before` or `after` its nth change of the object store, counted from one.
"""

import os
import signal
import sys
from typing import Any

from morph_assets.platform import Platform
from morph_assets.usecases.purge_kernel import purge_kernel
from morph_kernels.identity import KernelDigest

LEASE_S = 0.5


class DyingStore:
    """An object store beside whose nth change the process dies."""

    def __init__(self, store: Any, change: int, moment: str) -> None:
        self._store, self._left, self._moment = store, change, moment

    def __getattr__(self, name: str) -> Any:
        """Everything else is the store's own."""
        return getattr(self._store, name)

    def put_if_absent(self, key: Any, data: Any) -> bool:
        """Store, or die."""
        return bool(self._change(lambda: self._store.put_if_absent(key, data)))

    def delete(self, key: Any) -> None:
        """Delete, or die."""
        self._change(lambda: self._store.delete(key))

    def _change(self, work: Any) -> Any:
        self._left -= 1
        if self._left == 0 and self._moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        done = work()
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return done


def main(digest: KernelDigest, change: int, moment: str) -> None:
    """Purge the kernel, up to that change."""
    with Platform.connect() as platform:
        platform.connections._store = DyingStore(platform.connections.store, change, moment)
        purge_kernel(platform.connections, digest, lease_s=LEASE_S)


if __name__ == "__main__":
    main(KernelDigest(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
