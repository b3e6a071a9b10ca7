"""First calls of kernels on this host: what died in one is not loaded here again for a while.

```
<root>/<tenant>/trials/<kernel digest>.<process id>.<random>   a library is in its first call: its process holds a lock
<root>/<tenant>/kernels/<digest>/proven-<boot id>              both libraries ran here since this host was started
```

A marker that nobody holds a lock on is left of a process that died in the call. If it wrote down its signal there, that
is proof enough; otherwise it may have been killed from outside, and it takes two. Nothing is flushed: what a loss of
power takes away costs one more trial. The locks are of the kind that a process does not share with its children.
"""

import contextlib
import faulthandler
import fcntl
import functools
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from morph_kernels.artifact.manifest import LibraryRole
from morph_kernels.cache.counts import Counts
from morph_kernels.cache.crashes import REST_S, Crash, is_proof, parse_signal
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.identity import KernelDigest, is_digest

_FOLDER, _PROVEN = "trials", "proven-"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MAX_DUMP_BYTES = 64 * 1024
_BOTH: frozenset[LibraryRole] = frozenset({"forward", "backward"})
# Who waits longer waits for a library that does not return.
_TURN_S = 1.0

_Result = TypeVar("_Result")
# One call at a time, so that a crash is blamed on the right kernel.
_turn = threading.Lock()
# To open and close a file that this process has locked would unlock it.
_mine: set[str] = set()


class FirstCalls:
    """What is known of first calls on one disk. Whatever the disk does, nothing is raised; it is counted."""

    def __init__(self, folder: DiskFolder, counts: Counts) -> None:
        self._folder, self._counts = folder, counts

    def trial(self, digest: KernelDigest, entry: Path | None) -> "Trial | None":
        """Return what a kernel's first calls are made through, or None where it is proven on this host.

        Args:
            digest: the kernel's.
            entry: its folder on this disk, or None where it runs from memory: then nothing can remember a proof.
        """
        if entry is not None and (entry / _proof_name()).exists():
            return None
        return Trial(self, digest, entry)

    def barred(self) -> frozenset[KernelDigest]:
        """Return the kernels that crashed on this host and are not to be loaded now."""
        found: dict[KernelDigest, list[Crash]] = {}
        for crash in self.crashes():
            found.setdefault(crash.digest, []).append(crash)
        return frozenset(digest for digest, crashes in found.items() if is_proof(crashes))

    def crashes(self) -> list[Crash]:
        """Return the processes that died in a first call in the last day; older markers are removed."""
        try:
            names = os.listdir(self._folder.open(_FOLDER))  # noqa: PTH208 - names only
        except FileNotFoundError:
            return []
        except OSError as error:
            self._count(error)
            return []
        found = []
        for name in names:
            try:
                crash = self._read(name)
            except OSError as error:
                self._count(error)
                continue
            if crash is not None:
                found.append(crash)
        return found

    @contextlib.contextmanager
    def marked(self, digest: KernelDigest) -> Iterator[None]:
        """Leave a marker while the block runs; a crash leaves it behind, with its signal if that is known."""
        if not _turn.acquire(timeout=_TURN_S):
            self._counts.add("trials:busy")
            yield
            return
        try:
            with contextlib.ExitStack() as held:
                try:
                    held.enter_context(_marker(self._folder.make(_FOLDER), digest))
                except OSError as error:
                    self._count(error)
                yield
        finally:
            _turn.release()

    def prove(self, digest: KernelDigest, entry: Path | None) -> None:
        """Remember that both libraries ran on this host, and forget earlier crashes: they were not the kernel's."""
        try:
            if entry is not None:
                for old in entry.glob(f"{_PROVEN}*"):
                    old.unlink(missing_ok=True)
                (entry / _proof_name()).touch(mode=0o600)
            for crash in self.crashes():
                if crash.digest == digest:
                    crash.marker.unlink(missing_ok=True)
        except OSError as error:
            self._count(error)

    def _read(self, name: str) -> Crash | None:
        """Return the crash that a marker tells of; None for a call that is under way or long past."""
        path, digest = self._folder.path / _FOLDER / name, KernelDigest(name.partition(".")[0])
        if name in _mine:
            return None
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            # Shared, so that two processes that look at the same time both see it.
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            at, dump = os.fstat(descriptor).st_mtime, os.read(descriptor, _MAX_DUMP_BYTES)
        except (BlockingIOError, PermissionError):
            return None
        finally:
            os.close(descriptor)
        # A clock that was set back would bar a kernel for longer than a day.
        if not 0 <= time.time() - at < REST_S:
            path.unlink(missing_ok=True)
            return None
        return Crash(digest, at, parse_signal(dump, Path(__file__).name, "run"), path) if is_digest(digest) else None

    def _count(self, error: OSError) -> None:
        self._counts.add(f"trials:{type(error).__name__}")


class Trial:
    """One kernel of which this host does not know yet whether it runs here."""

    def __init__(self, calls: FirstCalls, digest: KernelDigest, entry: Path | None) -> None:
        self._calls, self._digest, self._entry = calls, digest, entry
        self._passed: set[LibraryRole] = set()

    def run(self, work: Callable[[], _Result]) -> _Result:
        """Do what may crash, and return or raise what it does."""
        with self._calls.marked(self._digest):
            # This function's own name in the dump of a crash says that it happened in here.
            return work()

    def passed(self, role: LibraryRole) -> None:
        """Note that a library ran to its end; with both the kernel is proven."""
        self._passed.add(role)
        if self._passed >= _BOTH:
            self._calls.prove(self._digest, self._entry)


@contextlib.contextmanager
def _marker(folder: Path, digest: KernelDigest) -> Iterator[None]:
    name = f"{digest}.{os.getpid()}.{secrets.token_hex(8)}"
    hidden, path = folder / f".{name}", folder / name
    descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    _mine.update((name, hidden.name))
    watching = False
    try:
        # Locked before anybody looks for it: an unlocked one says that its process is gone.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        hidden.rename(path)
        watching = _watch(descriptor)
        yield
    finally:
        if watching:
            faulthandler.disable()
        for left in (hidden, path):
            with contextlib.suppress(OSError):
                left.unlink()
        os.close(descriptor)
        _mine.difference_update((name, hidden.name))


def _watch(descriptor: int) -> bool:
    """Have a fatal signal written to the marker, unless somebody else is told of them already."""
    if faulthandler.is_enabled():
        return False
    faulthandler.enable(file=descriptor, all_threads=True)
    return True


@functools.cache
def _proof_name() -> str:
    """Return this host's mark: after a restart, or on another host, the processor may be another one."""
    try:
        return _PROVEN + _BOOT_ID.read_text().strip()
    except OSError:
        return f"{_PROVEN}unknown"
