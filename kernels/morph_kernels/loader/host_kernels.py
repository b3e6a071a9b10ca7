"""The kernels of this host as a loader sees them: each judged anew whenever it is read."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.index import Variant
from morph_kernels.artifact.manifest import KernelManifest, LibraryRole
from morph_kernels.cache.counts import Counts
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.disk_tier import DiskTier
from morph_kernels.cache.private_file import NotPrivateError
from morph_kernels.loader.body import loaded_digests
from morph_kernels.loader.judge import Judge, Refused
from morph_kernels.reasons import Reason

_LOADED = "loaded by this process"


@dataclass(frozen=True)
class OnDisk:
    """A kernel on this host whose bytes were verified just now."""

    manifest: KernelManifest
    libraries: Mapping[LibraryRole, Path]


class HostKernels:
    """The disk tier behind a judge. Whatever the disk does, nothing is raised here, and everything is counted."""

    def __init__(self, disk: DiskTier, judge: Judge, counts: Counts) -> None:
        self._disk, self._judge, self._counts = disk, judge, counts
        self.evicted = Counts()

    def find(self, variant: Variant) -> OnDisk | Refused:
        """Return a verified kernel, or why there is none; a damaged one is moved aside."""
        try:
            found = self._read(variant)
        except OSError as error:
            return self._count(error)
        if isinstance(found, Refused) and found.reason is not Reason.NOT_FOUND:
            self._counts.add(f"disk:{found.reason}")
            if found.damaged:
                self._move_aside(variant, found.reason)
        return found

    def keep(
        self, variant: Variant, manifest: KernelManifest, bundle: KernelBundle, *, fetch_s: float, deadline: Deadline
    ) -> OnDisk | Refused:
        """Keep a verified kernel that took so long to fetch; return what is on disk now, or why it is not usable."""
        loaded = dict.fromkeys(loaded_digests(), _LOADED)
        try:
            kept = self._disk.put(manifest, bundle, fetch_s=fetch_s, keep=loaded, deadline=deadline)
        except OSError as error:
            return self._count(error)
        if kept.dropped:
            self.evicted.add("disk", kept.dropped)
        return self.find(variant) if kept.libraries is None else OnDisk(manifest, kept.libraries)

    @contextlib.contextmanager
    def fetching(self, variant: Variant, deadline: Deadline) -> Iterator[Refused | None]:
        """Hold the host's right to fetch a kernel, if it is given in time; yield why the disk cannot be used."""
        with contextlib.ExitStack() as held:
            try:
                if not held.enter_context(self._disk.fetching(variant.kernel_digest, deadline)):
                    self._counts.add("disk:lock_not_given")
            except OSError as error:
                yield self._count(error)
                return
            yield None

    def _read(self, variant: Variant) -> OnDisk | Refused:
        try:
            entry = self._disk.find(variant.kernel_digest)
        except NotPrivateError:
            return Refused(Reason.NOT_PRIVATE, damaged=True)
        if entry is None:
            return Refused(Reason.NOT_FOUND)
        judged = self._judge.judge(variant, entry.bundle)
        return judged if isinstance(judged, Refused) else OnDisk(judged, entry.libraries)

    def _move_aside(self, variant: Variant, reason: Reason) -> None:
        try:
            self._disk.quarantine(variant.kernel_digest, reason)
        except OSError as error:
            self._count(error)

    def _count(self, error: OSError) -> Refused:
        self._counts.add(f"disk:{type(error).__name__}")
        return Refused(Reason.DISK_UNUSABLE)
