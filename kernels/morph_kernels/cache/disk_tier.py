"""The kernels on the node's disk: a folder each, verified when they came and again whenever they are loaded.

```
<root>/<tenant>/kernels/<kernel digest>/manifest.json
                                       /<role>-<library digest>.so  named by content: the linker tells libraries by path
                                       /proven-<boot id>        ran on this host; see first_calls
<root>/<tenant>/index/<trust root>.<blueprint>.index      the newest index; see disk_index
<root>/<tenant>/quarantine/<name>.<reason>.<random>       what was damaged, the last few kept for a look
<root>/<tenant>/locks/                                    the locks that are held now
```

An entry is written beside and renamed into place, so a half one is never seen, and never rewritten. How often and when
each was found stands in `kernels/uses`; see use_log.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.manifest import (
    MAX_LIBRARY_BYTES,
    MAX_MANIFEST_BYTES,
    KernelManifest,
    Library,
    LibraryRole,
)
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.disk_folder import DiskFolder, measure, remove, staging_name
from morph_kernels.cache.eviction import CachedKernel, EvictionPlan, plan_eviction
from morph_kernels.cache.private_file import open_private_folder, read_bounded
from morph_kernels.cache.use_log import UseLog, Uses
from morph_kernels.durable_file import write_volatile
from morph_kernels.identity import KernelDigest, is_digest
from morph_kernels.reasons import Reason

_FOLDER, _MANIFEST, _USES = "kernels", "manifest.json", "uses"
_LIBRARIES: tuple[LibraryRole, ...] = ("forward", "backward")
_DEFAULT_BUDGET_BYTES = 4 * 1024**3


class DiskBudgetError(OSError):
    """A kernel does not fit the disk budget, whatever else is dropped."""


@dataclass(frozen=True)
class DiskEntry:
    """One kernel on disk: its bytes as read just now, unverified, and where the linker finds the libraries."""

    bundle: KernelBundle
    libraries: dict[LibraryRole, Path]


@dataclass(frozen=True)
class Kept:
    """What became of a put: where the libraries lie, and how many other kernels were dropped for them.

    Attributes:
        libraries: just those bytes, in a folder that only this user enters; None where another process had put the
            kernel before, whose bytes nobody here verified.
        dropped: how many.
    """

    libraries: dict[LibraryRole, Path] | None
    dropped: int = 0


class DiskTier:
    """The kernels of one tenant on this host: with what was set aside of them, never more bytes than the budget."""

    def __init__(self, folder: DiskFolder, *, budget_bytes: int = _DEFAULT_BUDGET_BYTES) -> None:
        self._folder, self._budget_bytes = folder, budget_bytes
        self._kernels = folder.path / _FOLDER
        self._uses = UseLog(self._kernels / _USES)

    def find(self, digest: KernelDigest) -> DiskEntry | None:
        """Return the entry, read whole, or None. What it holds is still to be verified.

        Raises:
            NotPrivateError: the entry, or a folder that it lies in, is a link or another user could change it.
            OSError: the disk fails.
        """
        entry = self.peek(digest)
        if entry is not None and entry.libraries:
            self._uses.used(digest)
        return entry

    def peek(self, digest: KernelDigest) -> DiskEntry | None:
        """Return what `find` does; this counts as no use."""
        folder = self._entry(digest)
        try:
            self._folder.open(_FOLDER)
            descriptor = open_private_folder(folder)
        except FileNotFoundError:
            return None
        try:
            return _read_entry(descriptor, folder)
        except FileNotFoundError:
            # A folder without all of its files is no entry that anybody put: nothing verifies as it.
            return DiskEntry(KernelBundle(b"", {}), {})
        finally:
            os.close(descriptor)

    def put(
        self,
        manifest: KernelManifest,
        bundle: KernelBundle,
        *,
        fetch_s: float = 1.0,
        keep: Mapping[KernelDigest, str] = MappingProxyType({}),
        deadline: Deadline | None = None,
    ) -> Kept:
        """Keep a verified kernel, where no other process was first.

        Args:
            manifest: the kernel's.
            bundle: its bytes.
            fetch_s: how long it took to get it here.
            keep: kernels that must stay, each with the reason.
            deadline: how long to wait for another process that writes; a second where it is None.

        Raises:
            DiskBudgetError: it does not fit the budget.
            OSError: the disk is full, read-only, busy or not ours.
        """
        with self._folder.writing(_FOLDER, deadline) as kernels:
            final = self._entry(manifest.digest)
            if final.is_dir():
                return Kept(None)
            dropped = self._make_room(bundle.size_bytes, keep)
            staging = kernels / staging_name()
            try:
                staging.mkdir(mode=0o700)
                _write_entry(staging, manifest, bundle)
                staging.rename(final)
            except BaseException:
                shutil.rmtree(staging, ignore_errors=True)
                raise
            # Nothing waits for the disk: what the loss of power tears is found at the next load, and fetched again.
            self._uses.came(manifest.digest, fetch_s)
            self._uses.fold()
        return Kept({library.role: final / _library_name(library) for library in manifest.libraries}, dropped)

    def quarantine(self, digest: KernelDigest, reason: Reason) -> None:
        """Move an entry aside, so that it is never found again but can be looked at."""
        self._folder.set_aside(self._entry(digest), reason)

    def kernels(self) -> list[CachedKernel]:
        """Return what each kernel on this disk takes and what speaks for keeping it, by digest."""
        return self._weigh(self._uses.read())

    def digests(self) -> list[KernelDigest]:
        """Return the kernels on this disk, in order."""
        try:
            names = os.listdir(self._kernels)  # noqa: PTH208 - names only
        except FileNotFoundError:
            return []
        return sorted(KernelDigest(name) for name in names if is_digest(name))

    def evict(self, plan: EvictionPlan) -> None:
        """Drop what a plan drops.

        Raises:
            OSError: the disk is read-only, busy or not ours.
        """
        with self._folder.writing(_FOLDER):
            self._apply(plan)

    def drop(self, digest: KernelDigest) -> bool:
        """Remove a kernel and return whether it was there; a process that has it loaded goes on with it."""
        return remove(self._entry(digest))

    @contextlib.contextmanager
    def fetching(self, digest: KernelDigest, deadline: Deadline) -> Iterator[bool]:
        """Hold the host's one right to fetch a kernel; yield False where the deadline passed while another held it."""
        with self._folder.lock(_checked(digest), deadline) as mine:
            yield mine

    def _weigh(self, uses: Uses) -> list[CachedKernel]:
        found = []
        for digest in self.digests():
            use, size_bytes = uses.of(digest), measure(self._kernels / digest)
            found.append(CachedKernel(digest, size_bytes, use.uses, use.rebuild_s, use.clock))
        return found

    def _make_room(self, needed_bytes: int, keep: Mapping[KernelDigest, str]) -> int:
        uses = self._uses.read()
        held = self._weigh(uses)
        # What was damaged is only kept for a look: it goes before any kernel does.
        self._folder.trim_quarantine(self._budget_bytes - needed_bytes - sum(kernel.size_bytes for kernel in held))
        plan = plan_eviction(
            held,
            needed_bytes=needed_bytes,
            budget_bytes=self._budget_bytes,
            keep=keep,
            clock=uses.clock,
        )
        if not plan.fits:
            raise DiskBudgetError(f"{needed_bytes} bytes do not fit into {self._kernels}, whatever else is dropped")
        self._apply(plan)
        return len(plan.dropped)

    def _apply(self, plan: EvictionPlan) -> None:
        for kernel in plan.dropped:
            self.drop(kernel.digest)
        if plan.dropped:
            self._uses.left((kernel.digest for kernel in plan.dropped), plan.clock)

    def _entry(self, digest: KernelDigest) -> Path:
        return self._kernels / _checked(digest)


def _checked(digest: KernelDigest) -> str:
    if not is_digest(digest):
        raise ValueError(f"not a digest: {digest[:80]!r}")
    return digest


def _read_entry(descriptor: int, folder: Path) -> DiskEntry:
    names = _library_names(descriptor)
    bundle = KernelBundle(
        read_bounded(_MANIFEST, MAX_MANIFEST_BYTES, folder=descriptor),
        {role: read_bounded(name, MAX_LIBRARY_BYTES, folder=descriptor) for role, name in names.items()},
    )
    return DiskEntry(bundle, {role: folder / name for role, name in names.items()})


def _write_entry(folder: Path, manifest: KernelManifest, bundle: KernelBundle) -> None:
    for library in manifest.libraries:
        write_volatile(folder / _library_name(library), bundle.libraries[library.role])
    write_volatile(folder / _MANIFEST, bundle.manifest)


def _library_name(library: Library) -> str:
    return f"{library.role}-{library.digest}.so"


def _library_names(folder: int) -> dict[LibraryRole, str]:
    """Return each library's file name, which holds a digest; the bytes are compared with the manifest's later."""
    found: dict[LibraryRole, str] = {}
    for name in os.listdir(folder):
        role, _, digest = name.removesuffix(".so").partition("-")
        for known in _LIBRARIES:
            if role == known and name.endswith(".so") and is_digest(digest):
                found[known] = name
    return found
