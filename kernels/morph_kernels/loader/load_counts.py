"""How loads went and what they spared: the numbers behind `loader.stats()`."""

import threading
from collections import Counter
from typing import Any

from morph_kernels.reasons import Reason


class LoadCounts:
    """Loads by outcome, with their seconds, and the builds that they made unnecessary."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loads: Counter[str] = Counter()
        self._seconds: dict[str, float] = {}
        self._builds_saved, self._seconds_saved = 0, 0.0

    def add(self, source: str, reason: Reason | None, seconds: float, *, build_s: float | None) -> None:
        """Count a load.

        Args:
            source: the tier that the body came from, or "eager".
            reason: why it is eager, else None.
            seconds: what the load took.
            build_s: what the kernel took to build, where this load brought its body into the process; else None.
        """
        key = source if reason is None else f"eager:{reason}"
        with self._lock:
            self._loads[key] += 1
            self._seconds[key] = self._seconds.get(key, 0.0) + seconds
            if reason is None and build_s is not None:
                self._builds_saved += 1
                self._seconds_saved += max(0.0, build_s - seconds)

    def snapshot(self) -> dict[str, Any]:
        """Return the numbers as they are together at one moment."""
        with self._lock:
            return {
                "loads": dict(self._loads),
                "load_seconds": dict(self._seconds),
                "builds_saved": self._builds_saved,
                "seconds_saved": self._seconds_saved,
            }
