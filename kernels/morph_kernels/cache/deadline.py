"""One total limit for everything a lookup does."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from morph_kernels.cache.background import in_background
from morph_kernels.reasons import Reason

T = TypeVar("T")


class Deadline:
    """A moment on the monotonic clock; wall clocks jump."""

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + seconds

    @property
    def remaining_s(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - self._clock())

    def part(self, ratio: float) -> "Deadline":
        """Return a deadline for a share of what is left."""
        return Deadline(self.remaining_s * ratio, clock=self._clock)

    @property
    def expired(self) -> bool:
        """Whether nothing is left."""
        return self.remaining_s <= 0.0


@dataclass(frozen=True)
class Raised:
    """What the work raised, as a value: the thread that waits for it may be interrupted by exceptions of its own."""

    error: BaseException


def call_within(deadline: Deadline, work: Callable[[], T]) -> T | Raised | Reason:
    """Return what `work` returns or raises, or `Reason.DEADLINE` once the deadline has passed.

    The work runs on a thread of its own that nobody waits for at exit: a server that accepts and then says nothing
    costs the caller the deadline and no more, whatever time-outs its client library has.
    """
    if deadline.expired:
        return Reason.DEADLINE
    outcome: list[T | Raised] = []
    done = threading.Event()

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:  # noqa: BLE001 - handed to the caller, whatever it is
            outcome.append(Raised(error))
        finally:
            done.set()

    if in_background(run, name="morph-tier") is None:
        return Raised(RuntimeError("this process may start no more threads"))
    return outcome[0] if done.wait(deadline.remaining_s) else Reason.DEADLINE
