"""The private folder of one tenant on this host: who may write, and where damaged things go."""

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from morph_kernels.cache.background import in_background
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.host_lock import host_lock
from morph_kernels.cache.private_file import check_guarded_folder, check_private_folder, make_private_folder
from morph_kernels.identity import parse_name
from morph_kernels.reasons import Reason

_QUARANTINE, _QUARANTINED = "quarantine", 16
# A write takes milliseconds; who waits longer than this waits for a process that is stopped.
_WRITE_S = 1.0
_TURN_S = 0.05


class DiskBusyError(OSError):
    """Another process holds the right to write, and keeps it."""


class DiskFolder:
    """`<cache folder>/<tenant>`: only this user enters it, and one process at a time writes."""

    def __init__(self, cache: Path, *, tenant: str) -> None:
        self._cache, self.path = cache, cache / parse_name(tenant, what="tenant")
        self._private: set[Path] = set()

    def open(self, name: str) -> Path:
        """Return a folder in this one after checking that nobody else could exchange what it holds.

        The check is made once: what is private stays so, since only this user can change it.

        Raises:
            FileNotFoundError: there is none.
            NotPrivateError: somebody could.
        """
        folder = self.path / name
        if folder not in self._private:
            check_guarded_folder(self._cache)
            check_private_folder(self.path)
            check_private_folder(folder)
            self._private.add(folder)
        return folder

    def make(self, name: str) -> Path:
        """Return a private folder in this one, made where it was missing.

        Raises:
            NotPrivateError: it is there and another user could change it.
            OSError: the disk is full or read-only.
        """
        make_private_folder(self.path)
        make_private_folder(self.path / name)
        return self.open(name)

    @contextlib.contextmanager
    def lock(self, name: str, deadline: Deadline) -> Iterator[bool]:
        """Hold a lock among this host's processes; yield False where the deadline passed while another held it."""
        path = self.make("locks") / name
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(path.lstat().st_mode):
                # A link or a folder: nobody holds that, and nobody ever could.
                remove(path)
        with host_lock(path, deadline) as mine:
            yield mine

    @contextlib.contextmanager
    def writing(self, name: str, deadline: Deadline | None = None) -> Iterator[Path]:
        """Hold the right to write into a folder in this one, free of what crashes left in it; yield the folder.

        Only who writes stages, under a name that begins with a dot, so what is staged already is nobody's.

        Raises:
            DiskBusyError: the deadline passed while another process had the right; a second, where none is given.
            OSError: the disk is full, read-only or not ours.
        """
        with self.lock(f"write-{name}", deadline or Deadline(_WRITE_S)) as mine:
            if not mine:
                raise DiskBusyError(f"another process writes to {self.path / name} and does not end")
            folder = self.make(name)
            for left in folder.glob(".*"):
                remove(left)
            yield folder

    def set_aside(self, path: Path, reason: Reason) -> None:
        """Move something damaged to the quarantine, which keeps the last few."""
        folder = self.make(_QUARANTINE)
        with contextlib.suppress(FileNotFoundError):
            path.rename(folder / f"{path.name}.{reason}.{secrets.token_hex(4)}")
        for old in self._quarantined()[:-_QUARANTINED]:
            remove(old)

    def trim_quarantine(self, most_bytes: int) -> None:
        """Remove what was set aside first, until the rest takes no more than this."""
        kept = self._quarantined()
        excess = sum(map(measure, kept)) - most_bytes
        for old in kept:
            if excess <= 0:
                break
            excess -= measure(old)
            remove(old)

    def _quarantined(self) -> list[Path]:
        # Moving a thing changes its status, so this is the order in which they came here.
        try:
            return sorted((self.path / _QUARANTINE).iterdir(), key=lambda kept: kept.lstat().st_ctime_ns)
        except FileNotFoundError:
            return []


def write_soon(write: Callable[[Deadline], None], *, failed: Callable[[], None]) -> None:
    """Write at once where nobody else writes, else behind the caller's back; nothing is raised."""

    def attempt(deadline: Deadline) -> bool:
        try:
            write(deadline)
        except DiskBusyError:
            return False
        except OSError:
            failed()
        return True

    def insist() -> None:
        if not attempt(Deadline(_WRITE_S)):
            failed()

    if not attempt(Deadline(_TURN_S)) and in_background(insist, name="morph-write") is None:
        failed()


def staging_name() -> str:
    """Return a name for what is not yet whole."""
    return f".{secrets.token_hex(8)}"


def measure(path: Path) -> int:
    """Return the bytes that a file, or a folder of files, takes; what is gone takes none."""
    try:
        status = path.lstat()
        if not stat.S_ISDIR(status.st_mode):
            return status.st_size
        with os.scandir(path) as files:
            return sum(file.stat(follow_symlinks=False).st_size for file in files)
    except FileNotFoundError:
        return 0


def remove(path: Path) -> bool:
    """Remove a folder or a file and return whether it was there; hidden first, so that nobody finds half of it."""
    hidden = path.with_name(staging_name())
    try:
        path.rename(hidden)
    except FileNotFoundError:
        return False
    if hidden.is_symlink() or not hidden.is_dir():
        hidden.unlink()
    else:
        # What cannot be removed now is swept by the next write.
        shutil.rmtree(hidden, ignore_errors=True)
    return True
