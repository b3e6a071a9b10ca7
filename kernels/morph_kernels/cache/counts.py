"""Plain counts that many threads add to while others read them."""

import threading
from collections import Counter


class Counts:
    """Numbers by key. Adding to a `Counter` from two threads loses counts, and copying one may raise."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: Counter[str] = Counter()

    def add(self, key: str, amount: int = 1) -> None:
        """Count a key."""
        with self._lock:
            self._numbers[key] += amount

    def snapshot(self) -> Counter[str]:
        """Return a copy of the numbers as they are together at one moment."""
        with self._lock:
            return Counter(self._numbers)
