"""A folder that appears under its name whole or not at all, and the hash of what is in it."""

import ctypes
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from morph_assets.archive.errors import BackupError, PlaceTakenError
from morph_assets.archive.manifest import FileFacts
from morph_kernels.durable_file import flush
from morph_kernels.folder_lock import hold_folder

_CHUNK_BYTES = 4 * 1024**2
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def open_draft(destination: Path) -> Iterator[Path]:
    """Yield a private folder beside the destination; it takes the destination's name when the block ends well.

    Everything in it is on disk before it does. A killed process leaves a draft, which the next one for the same
    destination removes.

    Raises:
        PlaceTakenError: something stands at the destination.
        BackupError: the destination's folder is missing or cannot be written.
    """
    _require_free(destination)
    descriptor, draft = _make_draft(destination)
    try:
        yield draft
        flush_tree(draft)
        try:
            draft.rename(destination)
        except OSError as error:
            raise PlaceTakenError(destination, "choose a folder that is not there yet") from error
        flush(destination.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)  # gone already when all went well
        os.close(descriptor)


def flush_tree(folder: Path) -> None:
    """Make every file below the folder survive the loss of power: one call for the file system, not one a file.

    Raises:
        OSError: the disk did not take it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def measure_file(path: Path) -> FileFacts:
    """Return what the file is, read once."""
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
    return FileFacts(size_bytes, digest.hexdigest())


def _require_free(destination: Path) -> None:
    if destination.is_symlink() or (destination.exists() and not _is_empty_folder(destination)):
        raise PlaceTakenError(destination, "choose a folder that is not there yet")
    if not destination.parent.is_dir():
        raise BackupError(f"{destination.parent} is no folder: make it first")


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and next(path.iterdir(), None) is None


def _make_draft(destination: Path) -> tuple[int, Path]:
    """Make and lock a draft, after removing those whose makers died."""
    pattern = f".{destination.name}.*.draft"
    with hold_folder(destination.parent):
        for left in destination.parent.glob(pattern):
            _remove_dead(left)
        draft = destination.with_name(pattern.replace("*", secrets.token_hex(8)))
        try:
            draft.mkdir(mode=0o700)
        except OSError as error:
            raise BackupError(f"{destination.parent} cannot be written ({error.strerror})") from error
        descriptor = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # the kernel lets go when this process dies
    return descriptor, draft


def _remove_dead(draft: Path) -> None:
    descriptor = os.open(draft, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(draft)
    except BlockingIOError:
        return  # another backup to the same destination is being made
    finally:
        os.close(descriptor)
