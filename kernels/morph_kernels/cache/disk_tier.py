"""The node's disk: a private folder of this user with one folder a kernel, and the newest index of each blueprint.

```
<root>/<tenant>/kernels/<kernel digest>/manifest.json
                                       /<library digest>.so      named by content: the linker tells libraries by path
<root>/<tenant>/index/<blueprint>.dsse                           the newest index envelope
<root>/<tenant>/index/<blueprint>.generation                     the highest generation this host has seen
<root>/<tenant>/quarantine/<kernel digest>.<reason>.<random>     what was damaged, kept for a look
<root>/<tenant>/locks/                                           one file a kernel being fetched
```

An entry is written beside and renamed into place, so a half one is never seen, and never rewritten.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.index import MAX_INDEX_BYTES
from morph_kernels.artifact.manifest import MAX_LIBRARY_BYTES, MAX_MANIFEST_BYTES, KernelManifest, LibraryRole
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.private_file import make_private_folder, read_bounded, write_private
from morph_kernels.identity import KernelDigest, is_digest, parse_name
from morph_kernels.reasons import Reason

_MANIFEST = "manifest.json"
_LIBRARIES: tuple[LibraryRole, ...] = ("forward", "backward")
_POLL_S = 0.005


@dataclass(frozen=True)
class DiskEntry:
    """One kernel on disk: its bytes as read just now, unverified, and where the linker finds the libraries."""

    bundle: KernelBundle
    libraries: dict[LibraryRole, Path]


@dataclass(frozen=True)
class DiskUse:
    """What one kernel takes on disk, and when it was last read (seconds of the wall clock)."""

    digest: KernelDigest
    size_bytes: int
    used_at: float


class DiskTier:
    """The disk tier of one tenant on this host."""

    def __init__(self, root: Path, *, tenant: str) -> None:
        self._root = root / parse_name(tenant, what="tenant")
        self._kernels, self._indexes = self._root / "kernels", self._root / "index"

    def find(self, digest: KernelDigest) -> DiskEntry | None:
        """Return the entry, read whole, or None. What it holds is still to be verified."""
        folder = self._entry(digest)
        try:
            manifest = read_bounded(folder / _MANIFEST, MAX_MANIFEST_BYTES)
            paths = {role: folder / f"{role}-{name}.so" for role, name in _library_names(folder).items()}
            libraries = {role: read_bounded(path, MAX_LIBRARY_BYTES) for role, path in paths.items()}
        except FileNotFoundError:
            return None
        return DiskEntry(KernelBundle(manifest, libraries), paths)

    def put(self, manifest: KernelManifest, bundle: KernelBundle) -> None:
        """Keep a verified kernel; where another process was first, keep that one.

        Raises:
            OSError: the disk is full, read-only or not ours.
        """
        make_private_folder(self._kernels)
        final = self._entry(manifest.digest)
        staging = Path(tempfile.mkdtemp(prefix=".", dir=self._kernels))
        try:
            for library in manifest.libraries:
                name = f"{library.role}-{library.digest}.so"
                write_private(staging / name, bundle.libraries[library.role])
            write_private(staging / _MANIFEST, bundle.manifest)
            _sync_folder(staging)
            # Fails where the entry stands already: the two are equal, both were verified.
            with contextlib.suppress(OSError):
                staging.rename(final)
            if not final.is_dir():
                raise OSError(f"cannot keep kernel {manifest.digest[:12]} in {self._kernels}")
            _sync_folder(self._kernels)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def quarantine(self, digest: KernelDigest, reason: Reason) -> None:
        """Move an entry aside, so that it is never found again but can be looked at."""
        folder = self._root / "quarantine"
        make_private_folder(folder)
        with contextlib.suppress(FileNotFoundError):
            self._entry(digest).rename(folder / f"{digest}.{reason}.{secrets.token_hex(4)}")

    def digests(self) -> list[KernelDigest]:
        """Return the kernels on this disk, in order."""
        if not self._kernels.is_dir():
            return []
        return sorted(KernelDigest(path.name) for path in self._kernels.iterdir() if is_digest(path.name))

    def uses(self) -> list[DiskUse]:
        """Return what lies here, in order; entries that vanish meanwhile are left out."""
        found = []
        for digest in self.digests():
            with contextlib.suppress(FileNotFoundError):
                files = [path.stat() for path in self._entry(digest).iterdir()]
                used_at = max((max(status.st_atime, status.st_mtime) for status in files), default=0.0)
                found.append(DiskUse(digest, sum(status.st_size for status in files), used_at))
        return found

    def drop(self, digest: KernelDigest) -> bool:
        """Remove an entry and return whether it was there; a process that has it loaded goes on with it."""
        grave = self._kernels / f".{_checked(digest)}.{secrets.token_hex(4)}"
        try:
            # Renamed first, so that nobody finds half of it.
            self._entry(digest).rename(grave)
        except FileNotFoundError:
            return False
        shutil.rmtree(grave, ignore_errors=True)
        return True

    def find_index(self, blueprint: str) -> tuple[bytes, float] | None:
        """Return the newest index envelope and its age in seconds, or None."""
        path = self._indexes / f"{parse_name(blueprint)}.dsse"
        try:
            # A clock that was set back makes no index younger than it is.
            age_s = abs(time.time() - path.stat().st_mtime)
            return read_bounded(path, MAX_INDEX_BYTES), age_s
        except FileNotFoundError:
            return None

    def put_index(self, blueprint: str, generation: int, envelope: bytes) -> None:
        """Keep an envelope and the highest generation seen; the generation first, so that a crash refuses too much."""
        make_private_folder(self._indexes)
        name = parse_name(blueprint)
        if generation > self.highest_generation(name):
            _replace(self._indexes / f"{name}.generation", str(generation).encode())
        _replace(self._indexes / f"{name}.dsse", envelope)

    def highest_generation(self, blueprint: str) -> int:
        """Return the highest generation that this host has seen, 0 at first."""
        path = self._indexes / f"{parse_name(blueprint)}.generation"
        try:
            text = read_bounded(path, 32)
        except FileNotFoundError:
            return 0
        return int(text) if text.isdigit() else 0

    @contextlib.contextmanager
    def fetching(self, digest: KernelDigest, deadline: Deadline) -> Iterator[bool]:
        """Hold the host's one right to fetch a kernel; yield False where the deadline passed while another held it.

        The lock is the kernel's, so it ends with its holder, however that ends.
        """
        folder = self._root / "locks"
        make_private_folder(folder)
        with (folder / f"{_checked(digest)}.lock").open("w") as file:
            yield _lock(file.fileno(), deadline)

    def _entry(self, digest: KernelDigest) -> Path:
        return self._kernels / _checked(digest)


def _checked(digest: KernelDigest) -> str:
    if not is_digest(digest):
        raise ValueError(f"not a digest: {digest[:80]!r}")
    return digest


def _library_names(folder: Path) -> dict[LibraryRole, str]:
    """Return the digest in each library's file name; the bytes are compared with the manifest's digest later."""
    found: dict[LibraryRole, str] = {}
    for path in folder.iterdir():
        role, _, digest = path.stem.partition("-")
        for known in _LIBRARIES:
            if role == known and path.suffix == ".so" and is_digest(digest):
                found[known] = digest
    return found


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


def _replace(path: Path, data: bytes) -> None:
    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_private(staging, data)
    staging.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
