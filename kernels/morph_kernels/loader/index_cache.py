"""Finds the newest trusted index of a blueprint: memory and disk while fresh, else Redis and the store, else disk."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from morph_kernels.artifact.index import IndexVerdict, VerifiedIndex, verify_index
from morph_kernels.artifact.trust import TrustPolicy
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.disk_tier import DiskTier
from morph_kernels.cache.tier import GuardedTier
from morph_kernels.reasons import Reason


@dataclass(frozen=True)
class IndexHit:
    """A trusted index, the envelope that it came in and when it was last confirmed (monotonic seconds)."""

    index: VerifiedIndex
    envelope: bytes
    confirmed_at: float


class IndexCache:
    """The indexes of one tenant as this process knows them."""

    def __init__(
        self,
        *,
        tenant: str,
        trust: TrustPolicy,
        disk: DiskTier,
        remote: Sequence[GuardedTier[Any]],
        refresh_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tenant, self._trust, self._disk, self._remote = tenant, trust, disk, remote
        self._refresh_s, self._clock = refresh_s, clock
        self._known: dict[str, IndexHit] = {}
        self._refreshing = threading.Lock()
        self.refused: Counter[str] = Counter()

    def find(self, name: str, deadline: Deadline) -> IndexHit | Reason:
        """Return the newest index of a blueprint that is trusted, expired or not, or why there is none."""
        return self._fresh(name) or self._ask(name, deadline) or self._stale(name) or Reason.NO_INDEX

    def peek(self, name: str) -> IndexHit | None:
        """Return what this process knows already, without asking anybody."""
        return self._known.get(name)

    def refresh_later(self, names: Sequence[str], seconds: float) -> None:
        """Ask for newer indexes on a thread of their own; one such thread at a time."""
        stale = [name for name in names if self._fresh(name) is None]
        if not stale or not self._remote or not self._refreshing.acquire(blocking=False):
            return

        def refresh() -> None:
            try:
                for name in stale:
                    self._ask(name, Deadline(seconds))
            finally:
                self._refreshing.release()

        threading.Thread(target=refresh, name="morph-index", daemon=True).start()

    def accept(self, name: str, envelope: bytes, *, age_s: float = 0.0) -> IndexHit | Reason:
        """Verify an envelope from wherever it came; keep it if it is the newest."""
        verdict = self._verify(name, envelope)
        if not isinstance(verdict, VerifiedIndex):
            self.refused[verdict.reason] += 1
            return verdict.reason
        hit = IndexHit(verdict, envelope, self._clock() - age_s)
        known = self._known.get(name)
        if known is None or verdict.document.generation >= known.index.document.generation:
            self._known[name] = hit
        return hit

    def _fresh(self, name: str) -> IndexHit | None:
        hit = self._known.get(name) or self._read_disk(name)
        if hit is None or self._clock() - hit.confirmed_at >= self._refresh_s:
            return None
        return hit

    def _stale(self, name: str) -> IndexHit | None:
        return self._known.get(name) or self._read_disk(name)

    def _read_disk(self, name: str) -> IndexHit | None:
        try:
            found = self._disk.find_index(name)
        except OSError:
            self.refused[Reason.UNAVAILABLE] += 1
            return None
        if found is None:
            return None
        hit = self.accept(name, found[0], age_s=found[1])
        return hit if isinstance(hit, IndexHit) else None

    def _ask(self, name: str, deadline: Deadline) -> IndexHit | None:
        """Ask every remote tier in order until one has an index that is trusted; keep it on disk."""
        for tier in self._remote:
            envelope = tier.ask(lambda remote: remote.find_index(name), deadline)
            if envelope is None or isinstance(envelope, Reason):
                continue
            hit = self.accept(name, envelope)
            if isinstance(hit, IndexHit):
                self._keep(name, hit)
                return hit
        return None

    def _keep(self, name: str, hit: IndexHit) -> None:
        try:
            self._disk.put_index(name, hit.index.document.generation, hit.envelope)
        except OSError:
            self.refused["disk_write"] += 1

    def _verify(self, name: str, envelope: bytes) -> IndexVerdict:
        known = self._known.get(name)
        return verify_index(
            envelope,
            trust=self._trust,
            tenant=self._tenant,
            name=name,
            now=datetime.now(UTC),
            highest_seen=max(self._highest_on_disk(name), known.index.document.generation if known else 0),
        )

    def _highest_on_disk(self, name: str) -> int:
        try:
            return self._disk.highest_generation(name)
        except OSError:
            self.refused[Reason.UNAVAILABLE] += 1
            return 0
