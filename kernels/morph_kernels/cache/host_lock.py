"""Locks between the processes of a host. The kernel holds them, so they end with their holder, however that ends."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from morph_kernels.cache.deadline import Deadline

_POLL_S = 0.005


@contextlib.contextmanager
def host_lock(path: Path, deadline: Deadline) -> Iterator[bool]:
    """Hold the lock that a path names; yield False where the deadline passed while another held it.

    The file is removed with the lock, so that as many stand in the folder as are held.
    """
    descriptor = _acquire(path, deadline)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            with contextlib.suppress(OSError):
                path.unlink()
            # A child forked meanwhile shares the descriptor: closing it here alone would not unlock.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def _acquire(path: Path, deadline: Deadline) -> int | None:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            locked = _lock(descriptor, deadline)
        except BaseException:
            os.close(descriptor)
            raise
        if locked and _is_at(descriptor, path):
            return descriptor
        os.close(descriptor)
        if not locked:
            return None


def _lock(descriptor: int, deadline: Deadline) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if deadline.expired:
                return False
            time.sleep(_POLL_S)
        else:
            return True


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether the path still names the locked file: its last holder may have removed it while we waited."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
