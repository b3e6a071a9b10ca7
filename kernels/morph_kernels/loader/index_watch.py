"""Keeps the indexes in memory as new as Redis: one daemon thread that listens, and asks anew for what changed."""

import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from morph_kernels.cache.background import in_background
from morph_kernels.cache.counts import Counts
from morph_kernels.cache.index_feed import IndexFeed
from morph_kernels.loader.index_cache import IndexCache

# The first step of a training process does not share the interpreter with the import of a client library.
_SETTLE_S = 0.25
_FIRST_REST_S, _LONGEST_REST_S = 0.05, 2.0
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0


class FeedSource(Protocol):
    """Where index feeds come from; trouble is an exception."""

    def open_feed(self) -> IndexFeed:
        """Return a feed of what changes from now on."""
        ...


class IndexWatch:
    """Listens as long as its loader lives. While it cannot, it asks the servers itself, twice in a refresh period.

    It only makes indexes newer: whoever loads or crosses a boundary waits for it never.
    """

    def __init__(self, source: FeedSource, indexes: IndexCache, *, refresh_s: float, patience_s: float) -> None:
        self._source, self._indexes, self._patience_s = source, indexes, patience_s
        self._pause_s = min(max(refresh_s / 4, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
        self._poll_s = max(refresh_s / 2, _SHORTEST_PAUSE_S)
        self._starting = threading.Lock()
        self._started = False
        self._stopped = threading.Event()
        self._feed: IndexFeed | None = None
        self._counts = Counts()

    def start(self) -> None:
        """Begin to listen, once; without a thread to be had, indexes are as new as the refresh period makes them."""
        if self._started:
            return
        with self._starting:
            if not self._started:
                self._started = in_background(self._run, name="morph-watch") is not None

    def stop(self) -> None:
        """End the thread; nobody waits for it."""
        self._stopped.set()
        feed = self._feed
        if feed is not None:
            feed.close()

    def snapshot(self) -> dict[str, Any]:
        """Return whether it listens at the moment, and counts of what it heard."""
        return {"listening": self._feed is not None, **self._counts.snapshot()}

    def _run(self) -> None:
        wait_s, rest_s = _SETTLE_S, _FIRST_REST_S
        while not self._stopped.wait(wait_s):
            began = time.monotonic()
            self._try(self._listen)
            self._try(self._close)
            # A server that takes connections and drops them again is not asked without a rest.
            lasted = time.monotonic() - began > _LONGEST_REST_S
            wait_s = rest_s = _FIRST_REST_S if lasted else min(2 * rest_s, _LONGEST_REST_S)
            if not self._stopped.is_set():
                self._try(lambda: self._indexes.refresh_older(self._poll_s, self._patience_s))

    def _try(self, work: Callable[[], None]) -> None:
        """Do it; whatever it raises, the thread goes on."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 - whatever a client library raises, training goes on without it
            self._counts.add(f"lost:{type(error).__name__}")

    def _listen(self) -> None:
        self._feed = feed = self._source.open_feed()
        self._counts.add("connected")
        self._indexes.take_for_changed(None, self._patience_s)
        while not self._stopped.is_set():
            changed = feed.read(self._pause_s)
            if changed:
                self._counts.add("changed")
                self._indexes.take_for_changed(changed, self._patience_s)

    def _close(self) -> None:
        feed, self._feed = self._feed, None
        if feed is not None:
            feed.close()
