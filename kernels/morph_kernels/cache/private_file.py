"""Files that only this user may touch: what is executed from must not be writable, or readable by link, by another."""

import errno
import os
import stat
from pathlib import Path

_OTHERS_WRITE = 0o022
# What an entry that somebody put a link or a file of another kind into looks like.
_NOT_OURS = frozenset({errno.ELOOP, errno.ENOTDIR, errno.EISDIR, errno.ENXIO})


class NotPrivateError(PermissionError):
    """A file or folder that another user could have made or could change, or that is no plain file or folder."""


def make_private_folder(folder: Path) -> None:
    """Make a folder that only this user can enter.

    Raises:
        NotPrivateError: it exists and belongs to someone else, or others may write into it.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    check_private_folder(folder)


def check_private_folder(folder: Path) -> None:
    """Check that a folder is this user's alone to change, and no link.

    Raises:
        FileNotFoundError: there is none.
        NotPrivateError: it is not.
    """
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or not _is_ours(status):
        raise NotPrivateError(f"{folder} must be a folder of this user that nobody else can write into")


def check_guarded_folder(folder: Path) -> None:
    """Check that nobody else can exchange what this user keeps in a folder: it is root's or ours, or it is sticky.

    Raises:
        FileNotFoundError: there is none.
        NotPrivateError: somebody could.
    """
    status = folder.stat()
    open_to_others = status.st_mode & _OTHERS_WRITE and not status.st_mode & stat.S_ISVTX
    if status.st_uid not in {0, os.geteuid()} or open_to_others:
        raise NotPrivateError(f"{folder} belongs to another user, who could exchange what is kept in it")


def open_private_folder(folder: Path) -> int:
    """Return a descriptor of a private folder; names are read relative to it, whatever happens to its path.

    Raises:
        FileNotFoundError: there is none.
        NotPrivateError: it is a link or not this user's alone.
    """
    descriptor = _open(folder, os.O_RDONLY | os.O_DIRECTORY)
    if _is_ours(os.fstat(descriptor)):
        return descriptor
    os.close(descriptor)
    raise NotPrivateError(f"{folder} is not a private folder of this user")


def read_bounded(path: Path | str, max_bytes: int, *, folder: int | None = None) -> bytes:
    """Read a file of this user without following links; what is larger than the limit is cut one byte beyond it.

    Args:
        path: the file, or its name in `folder`.
        max_bytes: the limit.
        folder: a descriptor from `open_private_folder`.

    Raises:
        FileNotFoundError: there is none.
        NotPrivateError: it is a link or no plain file, belongs to someone else, or others may write to it.
    """
    descriptor = _open(path, os.O_RDONLY | os.O_NONBLOCK, folder=folder)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not _is_ours(status):
            raise NotPrivateError(f"{path} is not a private file of this user")
        parts = []
        # One byte more than there should be, so that the end is seen at once; a file that grows is read on.
        left = max_bytes + 1
        while left and (part := os.read(descriptor, min(left, max(status.st_size + 1, 4096)))):
            parts.append(part)
            left -= len(part)
    finally:
        os.close(descriptor)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _open(path: Path | str, flags: int, *, folder: int | None = None) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError as error:
        if error.errno in _NOT_OURS:
            raise NotPrivateError(f"{path} is not a plain file or folder of this user") from error
        raise


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_WRITE
