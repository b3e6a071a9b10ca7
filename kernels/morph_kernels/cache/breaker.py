"""Stops asking a tier that does not answer, and asks once in a while whether it does again."""

import threading
import time
from collections.abc import Callable


class Breaker:
    """Opens after `failures` in a row; half-opens after `rest_s` for one caller at a time.

    A silent server then costs one caller one deadline in a while, not every caller every time.
    """

    def __init__(self, *, failures: int = 3, rest_s: float = 5.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._rest_s, self._clock = failures, rest_s, clock
        self._lock = threading.Lock()
        self._failed = 0
        self._retry_at = 0.0

    @property
    def is_open(self) -> bool:
        """Whether callers are turned away, but for the one that may try."""
        return self._failed >= self._most

    def admit(self) -> bool:
        """Return whether this caller may ask the tier; it must then say how it went."""
        with self._lock:
            if self._failed < self._most:
                return True
            if self._clock() < self._retry_at:
                return False
            # The one caller of the half-open state; the next one after another rest, should this one never return.
            self._retry_at = self._clock() + self._rest_s
            return True

    def succeeded(self) -> None:
        """Close: the tier answered."""
        with self._lock:
            self._failed = 0

    def failed(self) -> None:
        """Count a failure; open at the limit."""
        with self._lock:
            self._failed += 1
            self._retry_at = self._clock() + self._rest_s
