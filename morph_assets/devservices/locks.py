"""Locks that the kernel releases when their holder dies."""

import fcntl
import os
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from morph_assets.devservices.errors import HomeUnusableError, ServicesBusyError

_FLOCK = "hhqqi4x"  # struct flock on Linux x86-64: type, whence, start, length, pid
_RETRY_S = 0.02


@contextmanager
def exclusive(folder: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold the lock on a folder, waiting for another holder. The folder itself carries it: no file is made in it.

    Raises:
        ServicesBusyError: it is still held after the time-out, or the folder was deleted meanwhile.
        HomeUnusableError: the file system has no locks.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline = time.monotonic() + timeout_s
    try:
        while not _try_flock(descriptor, folder):
            if time.monotonic() > deadline:
                raise ServicesBusyError(f"another `morph up` or `morph down` still works on {folder}")
            time.sleep(_RETRY_S)
        if _is_replaced(descriptor, folder):
            raise ServicesBusyError(f"{folder} was deleted meanwhile: try again")
        yield
    finally:
        os.close(descriptor)


def _is_replaced(descriptor: int, folder: Path) -> bool:
    return not folder.exists() or not os.path.samestat(os.fstat(descriptor), folder.stat())


def _try_flock(descriptor: int, folder: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        advice = "set MORPH_HOME to a folder on a local disk"
        raise HomeUnusableError(folder, f"cannot be locked ({error.strerror})", advice) from error
    return True


def hold_for_life(path: Path) -> bool:
    """Take the lock until this process ends; False if another process holds it.

    A record lock, not `flock`: for it the kernel also tells who holds it, so that no pid file has to be believed.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        os.close(descriptor)
        return False
    return True


def find_holder(path: Path) -> int | None:
    """Return the pid of the process that holds the lock for life, or None."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        question = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind, _, _, _, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
    finally:
        os.close(descriptor)
    return None if kind == fcntl.F_UNLCK else int(pid)
