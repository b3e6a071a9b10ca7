"""The newest index of each blueprint that this host has seen, one file each, never replaced by an older one.

What another root vouched for is another history, whose generations say nothing here: a file names its root. It is the
generation in 20 digits, a line feed and the signed envelope: one rename changes both, so no crash leaves a host that
remembers a generation and has no index of it.
"""

import time
from dataclasses import dataclass
from pathlib import Path

from morph_kernels.artifact.index import MAX_INDEX_BYTES
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.cache.private_file import read_bounded
from morph_kernels.durable_file import replace_file
from morph_kernels.identity import parse_name
from morph_kernels.reasons import Reason

_FOLDER = "index"
_DIGITS = 20


@dataclass(frozen=True)
class StoredIndex:
    """An index as it lies on disk, unverified; `generation` is what its file says and must equal what is signed."""

    envelope: bytes
    generation: int
    age_s: float


class DiskIndex:
    """The indexes of one tenant on this host, as far as they were verified under one root of trust."""

    def __init__(self, folder: DiskFolder, *, root: str) -> None:
        self._folder, self._root = folder, root

    def find(self, blueprint: str) -> StoredIndex | None:
        """Return the newest index and how long ago it was confirmed, or None.

        Raises:
            OSError: the disk fails, or another user could have changed the file.
        """
        try:
            path = self._path(self._folder.open(_FOLDER), blueprint)
            # A clock that was set back makes no index younger than it is.
            age_s = abs(time.time() - path.lstat().st_mtime)
            data = read_bounded(path, _DIGITS + 1 + MAX_INDEX_BYTES)
        except FileNotFoundError:
            return None
        return StoredIndex(data[_DIGITS + 1 :], _parse_generation(data), age_s)

    def put(self, blueprint: str, generation: int, envelope: bytes, deadline: Deadline | None = None) -> None:
        """Keep an index as confirmed now, unless a later generation is there.

        Raises:
            DiskBusyError: another process writes and did not end by the deadline.
            OSError: the disk is full, read-only or not ours.
        """
        with self._folder.writing(_FOLDER, deadline) as folder:
            if generation < self.highest_generation(blueprint):
                return
            replace_file(self._path(folder, blueprint), f"{generation:0{_DIGITS}d}\n".encode() + envelope)

    def highest_generation(self, blueprint: str) -> int:
        """Return the highest generation that this host has seen, 0 at first.

        Raises:
            OSError: the disk fails, or another user could have changed the file.
        """
        try:
            return _parse_generation(read_bounded(self._path(self._folder.open(_FOLDER), blueprint), _DIGITS))
        except FileNotFoundError:
            return 0

    def quarantine(self, blueprint: str, reason: Reason) -> None:
        """Move a damaged index aside."""
        self._folder.set_aside(self._path(self._folder.path / _FOLDER, blueprint), reason)

    def _path(self, folder: Path, blueprint: str) -> Path:
        return folder / f"{self._root}.{parse_name(blueprint)}.index"


def _parse_generation(data: bytes) -> int:
    head = data[:_DIGITS]
    return int(head) if len(head) == _DIGITS and head.isdigit() else 0
