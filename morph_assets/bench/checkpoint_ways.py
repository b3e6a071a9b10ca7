"""Ways to save a training state behind one face, and ours; each in a folder of its own."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from morph_assets.bench.checkpoint_state import BenchState
from morph_kernels.checkpoint import Checkpointer, CheckpointLedger
from morph_kernels.store import open_store

Wait = Callable[[], object]


class Way(Protocol):
    """How somebody saves and restores. `guarantees` says what a save that was acknowledged is worth."""

    name: str
    guarantees: str
    folder: Path

    def save(self) -> Wait:
        """Begin to save, as long as training must wait; the answer returns once the save is acknowledged."""

    def restore(self) -> None:
        """Bring the state back to the newest save."""

    def forget(self) -> None:
        """Free the disk of what the next save replaces, where that is ours to do."""

    def close(self) -> None:
        """End whatever runs beside."""


class OurWay:
    """The checkpointer over a folder store."""

    guarantees = "durable, all or nothing, verified"

    def __init__(self, name: str, state: BenchState, folder: Path, ledger: CheckpointLedger) -> None:
        self.name, self.folder = name, folder
        self._state, self._step = state, 0
        store = open_store((folder / "store").as_uri())
        self._checkpointer = Checkpointer(run="bench", store=store, ledger=ledger)

    def save(self) -> Wait:
        """Save; the writer goes on by itself."""
        self._step += 1
        return self._checkpointer.save(self._state, epoch=self._step, step=self._step).wait

    def restore(self) -> None:
        """Restore, every byte verified."""
        self._checkpointer.restore(self._state)

    def forget(self) -> None:
        """Keep everything: later saves share it."""

    def close(self) -> None:
        """Give the run back."""
        self._checkpointer.close()


def stored_files(folder: Path) -> dict[tuple[Path, int], int]:
    """Return the size of each file below a folder; one that was replaced by another has another key."""
    found = ((path, path.stat()) for path in folder.rglob("*") if path.is_file())
    return {(path, status.st_ino): status.st_size for path, status in found}


def grown_files(before: Mapping[tuple[Path, int], int], folder: Path) -> dict[Path, int]:
    """Return by how many bytes each file below a folder is new."""
    after = stored_files(folder)
    return {key[0]: size - before.get(key, 0) for key, size in after.items() if size != before.get(key)}


def flip_bit(path: Path) -> None:
    """Turn one bit in the middle of a file, as a bad disk does."""
    with os.fdopen(os.open(path, os.O_RDWR), "r+b") as file:
        middle = path.stat().st_size // 2
        file.seek(middle)
        (byte,) = file.read(1)
        file.seek(middle)
        file.write(bytes([byte ^ 0x10]))
