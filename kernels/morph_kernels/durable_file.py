"""Files of this user alone that survive the loss of power: each is there whole, or not at all. And volatile ones."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def write_private(path: Path, data: bytes | memoryview) -> None:
    """Write a new file of mode 0600 and flush it; its name lasts once `flush` was called with its folder.

    A crash leaves a part of it: for a folder that becomes visible as a whole.

    Raises:
        FileExistsError: a file or a link stands there.
    """
    write_volatile(path, data)
    flush(path)


def write_volatile(path: Path, data: bytes | memoryview) -> None:
    """Write a new file of mode 0600 that waits for no disk: for what is checked before use and can be had again.

    A crash leaves a part of it, and the loss of power may even some seconds later.

    Raises:
        FileExistsError: a file or a link stands there.
    """
    with os.fdopen(_create(path), "wb", buffering=0) as file:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]


def create_file(path: Path, data: bytes) -> None:
    """Write a new file of mode 0600.

    Raises:
        FileExistsError: there is a file at the path; it stays as it is.
    """
    # A link refuses to replace, unlike a rename.
    _publish(path, data, lambda draft: os.link(draft, path))


def replace_file(path: Path, data: bytes) -> None:
    """Replace the file's contents, mode 0600: after a crash it holds the old bytes or the new ones."""
    _publish(path, data, lambda draft: draft.replace(path))


@contextmanager
def open_replacement(path: Path) -> Iterator[BinaryIO]:
    """Open what replaces the file, mode 0600, once the block ended well; one that fails leaves it as it was."""
    draft = _draft_of(path)
    try:
        with os.fdopen(_create(draft), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    flush(path.parent)


def flush(path: Path) -> None:
    """Make a file's bytes, or the names in a folder, survive the loss of power."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _publish(path: Path, data: bytes, publish: Callable[[Path], object]) -> None:
    draft = _draft_of(path)
    try:
        write_private(draft, data)
        publish(draft)
    finally:
        draft.unlink(missing_ok=True)
    flush(path.parent)


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _draft_of(path: Path) -> Path:
    # Random, for two processes may write the same file, and a process id comes again.
    return path.with_name(f".{path.name}.{os.urandom(8).hex()}")
