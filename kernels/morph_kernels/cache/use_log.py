"""What was found on this disk, how often and when: the memory of what to drop.

A file that is only appended to, a line a thing that happened, so that processes that find kernels at the same time
need no lock and wait for nobody; who writes to the cache holds its lock, and folds the file when it has grown. A line
that a crash cut is no line. What is lost here costs a worse choice, never a kernel.

```
came <digest> <seconds that it took to get it>
used <digest>
left <digest>
clock <clock>                                     the cache's clock moved, see `eviction`
state <digest> <uses> <seconds> <clock>           what the lines before came to
```
"""

import contextlib
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from morph_kernels.cache.private_file import read_bounded
from morph_kernels.durable_file import replace_file
from morph_kernels.identity import KernelDigest, is_digest

# A pipe that somebody put there must not hold a load up.
_PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDED_BYTES = 256 * 1024
_MAX_BYTES = 16 * 1024**2


@dataclass
class Use:
    """How often a kernel was found since it came, what it cost to get, and the cache's clock when it was last found."""

    uses: int = 1
    rebuild_s: float = 1.0
    clock: float = 0.0


@dataclass
class Uses:
    """What a log comes to: the cache's clock, and every kernel that came and did not leave."""

    clock: float = 0.0
    kernels: dict[KernelDigest, Use] = field(default_factory=dict)

    def of(self, digest: KernelDigest) -> Use:
        """Return what is known of a kernel; one of which nothing is known was used once, long ago."""
        return self.kernels.get(digest, Use())


class UseLog:
    """One disk's memory of what was found; see the module for its lines."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def came(self, digest: KernelDigest, rebuild_s: float) -> None:
        """Note that a kernel was put here, and what it cost to get."""
        self._append(f"came {digest} {rebuild_s!r}\n")

    def used(self, digest: KernelDigest) -> None:
        """Note that a kernel was found."""
        self._append(f"used {digest}\n")

    def left(self, digests: Iterable[KernelDigest], clock: float) -> None:
        """Note that kernels were dropped, and where the cache's clock stands now."""
        self._append("".join(f"left {digest}\n" for digest in digests) + f"clock {clock!r}\n")

    def read(self) -> Uses:
        """Return what happened so far; nothing where there is no log, or another user could have changed it."""
        try:
            data = read_bounded(self._path, _MAX_BYTES)
        except OSError:
            return Uses()
        return fold_uses(data.decode("ascii", errors="replace").splitlines())

    def fold(self) -> None:
        """Write what happened so far in fewer lines, once there are many. Only who holds the cache's lock may.

        A find that is noted in the same moment may be forgotten.
        """
        with contextlib.suppress(OSError):
            if self._path.lstat().st_size > _FOLDED_BYTES:
                replace_file(self._path, "".join(_lines(self.read())).encode())

    def _append(self, lines: str) -> None:
        # A disk that takes no more still gives what it holds.
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | _PLAIN, 0o600)
            try:
                os.write(descriptor, lines.encode())
            finally:
                os.close(descriptor)


def fold_uses(lines: Iterable[str]) -> Uses:
    """Return what the lines come to; a line that says nothing is passed over."""
    uses = Uses()
    for line in lines:
        with contextlib.suppress(ValueError):
            _apply(uses, line.split(" "))
    return uses


def _apply(uses: Uses, words: list[str]) -> None:
    match words:
        case ["used", digest] if is_digest(digest):
            use = uses.kernels.setdefault(KernelDigest(digest), Use(uses=0))
            use.uses, use.clock = use.uses + 1, uses.clock
        case ["came", digest, seconds] if is_digest(digest):
            uses.kernels[KernelDigest(digest)] = Use(1, _number(seconds), uses.clock)
        case ["left", digest]:
            uses.kernels.pop(KernelDigest(digest), None)
        case ["clock", clock]:
            uses.clock = max(uses.clock, _number(clock))
        case ["state", digest, count, seconds, clock] if is_digest(digest):
            uses.kernels[KernelDigest(digest)] = Use(int(count), _number(seconds), _number(clock))
        case _:
            pass


def _lines(uses: Uses) -> Iterable[str]:
    yield f"clock {uses.clock!r}\n"
    for digest, use in uses.kernels.items():
        yield f"state {digest} {use.uses} {use.rebuild_s!r} {use.clock!r}\n"


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{text[:40]!r} is no amount")
    return value
