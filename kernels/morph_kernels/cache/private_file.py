"""Files that only this user may touch: what is executed from must not be writable, or readable by link, by another."""

import os
import stat
from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Make a folder that only this user can enter.

    Raises:
        PermissionError: it exists and belongs to someone else, or others may write into it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise PermissionError(f"{folder} must be a folder of this user that nobody else can write into")


def write_private(path: Path, data: bytes | memoryview) -> None:
    """Write a new file, durably; an existing one or a link in its place is an error."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
        os.fsync(file.fileno())


def read_bounded(path: Path, max_bytes: int) -> bytes:
    """Read a file of this user without following links; what is larger than the limit is cut one byte beyond it.

    Raises:
        PermissionError: it belongs to someone else or others may write to it.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise PermissionError(f"{path} is not a private file of this user")
        parts = []
        left = max_bytes + 1
        while left and (part := file.read(left)):
            parts.append(part)
            left -= len(part)
    return b"".join(parts)
