"""The few collectives that a save and a restore need, on a gloo group; alone, they are no-ops.

Bytes travel as tensors: torch's object collectives unpickle what other ranks send.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist

from morph_kernels.errors import MorphError

T = TypeVar("T")


class RanksDisagreeError(MorphError):
    """The ranks are not at the same point, so there is no one state to save."""


class OtherRankFailedError(MorphError):
    """Another rank could not do its part; this one did not go on alone."""


class Ranks:
    """The processes that save and restore together. Rank 0 coordinates."""

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self._group = group
        self.rank = 0 if group is None else dist.get_rank(group)
        self.size = 1 if group is None else dist.get_world_size(group)

    @property
    def coordinates(self) -> bool:
        """Whether this process commits for all."""
        return self.rank == 0

    def gather(self, data: bytes) -> list[bytes]:
        """Return every rank's bytes, by rank, on every rank."""
        if self.size == 1:
            return [data]
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        dist.all_gather(sizes, torch.tensor([len(data)], dtype=torch.int64), group=self._group)
        longest = max(int(size) for size in sizes)
        mine = torch.zeros(longest, dtype=torch.uint8)
        if data:
            mine[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        all_of_them = [torch.zeros(longest, dtype=torch.uint8) for _ in range(self.size)]
        dist.all_gather(all_of_them, mine, group=self._group)
        return [part[: int(size)].numpy().tobytes() for part, size in zip(all_of_them, sizes, strict=True)]

    def broadcast(self, data: bytes) -> bytes:
        """Return rank 0's bytes on every rank; what the others pass is ignored."""
        return self.gather(data if self.coordinates else b"")[0]

    def together(self, work: Callable[[], T]) -> T:
        """Return what the work returned, once it succeeded on every rank; raise on every rank where it failed on one.

        Raises:
            OtherRankFailedError: another rank's work failed.
        """
        try:
            done = work()
        except Exception as failure:
            self.agree(failure)
            raise
        self.agree(None)
        return done

    def agree(self, error: BaseException | None) -> None:
        """Go on together or not at all: raise this rank's error, or say which other rank failed.

        Raises:
            OtherRankFailedError: another rank passed an error.
        """
        words = self.gather(b"" if error is None else f"{type(error).__name__}: {error}".encode())
        if error is not None:
            raise error
        failed = [f"rank {rank}: {word.decode()}" for rank, word in enumerate(words) if word]
        if failed:
            raise OtherRankFailedError("; ".join(failed))
