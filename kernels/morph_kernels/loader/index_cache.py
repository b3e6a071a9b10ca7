"""Finds the newest trusted index of a blueprint: memory and disk while fresh, else Redis and the store, else disk."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from morph_kernels.artifact.index import IndexVerdict, VerifiedIndex, verify_index
from morph_kernels.artifact.trust import TrustPolicy
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.cache.background import in_background
from morph_kernels.cache.counts import Counts
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.disk_folder import DiskFolder, write_soon
from morph_kernels.cache.disk_index import DiskIndex, StoredIndex
from morph_kernels.cache.tier import GuardedTier, RemoteTier, iter_shares
from morph_kernels.loader.changes import Changes
from morph_kernels.reasons import Reason

# How many of a tier's indexes are tried: who can write there may have put something above the newest good one.
_TRIES = 3
_PATIENCE_S = 10.0
# What says that the bytes themselves are wrong. An unknown key leaves them as good as they were; who stole one that
# was revoked may have signed a generation far ahead, by which every good index would be refused for good.
_SET_ASIDE = frozenset({Reason.MALFORMED, Reason.BAD_SIGNATURE, Reason.TOO_LARGE, Reason.UNSIGNED, Reason.KEY_REVOKED})


@dataclass(frozen=True)
class IndexHit:
    """A trusted index, the envelope that it came in and when it was last confirmed (monotonic seconds)."""

    index: VerifiedIndex
    envelope: bytes
    confirmed_at: float

    @property
    def generation(self) -> int:
        """The index's generation."""
        return self.index.document.generation


class IndexCache:
    """The indexes of one tenant as this process knows them."""

    def __init__(
        self,
        *,
        tenant: str,
        trust: Callable[[], TrustPolicy],
        folder: DiskFolder,
        remote: Sequence[GuardedTier[Any]],
        refresh_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tenant, self._trust, self._folder, self._remote = tenant, trust, folder, remote
        self._refresh_s, self._clock = refresh_s, clock
        self._lock = threading.Lock()
        self._believed = trust()
        self._disk = DiskIndex(folder, root=self._believed.root_public_hex)
        self._known: dict[str, IndexHit] = {}
        # When every tier was last asked. A cache before the store may be stuck at an old index.
        self._compared_at: dict[str, float] = {}
        self._changes = Changes()
        self._refreshing = threading.Lock()
        self.refused = Counts()

    def find(self, name: str, deadline: Deadline) -> IndexHit | Reason:
        """Return the newest index of a blueprint that is trusted, expired or not, or why there is none."""
        here = self._find_here(name)
        if here is not None and self._is_fresh(name, here):
            return here
        # With an old one at hand, half of the time is kept for what it names.
        asked = self._ask(name, deadline if here is None else deadline.part(0.5))
        # What answered may be a cache that is stuck; the others are asked behind the caller's back, once in a while.
        self.refresh_later([name], _PATIENCE_S)
        return asked if isinstance(asked, IndexHit) else here or asked

    def peek(self, name: str) -> IndexHit | None:
        """Return what this process knows already, without asking anybody."""
        return self._known.get(name)

    def refresh_later(self, names: Sequence[str], seconds: float) -> None:
        """Ask every tier for newer indexes on a thread of their own; one such thread at a time."""
        due = [name for name in names if self._is_due(name)]
        if not due or not self._remote or not self._refreshing.acquire(blocking=False):
            return

        def refresh() -> None:
            try:
                for name in due:
                    self._compare(name, Deadline(seconds))
            finally:
                self._refreshing.release()

        if in_background(refresh, name="morph-index") is None:
            self._refreshing.release()

    def take_for_changed(self, names: Iterable[str] | None, seconds: float) -> None:
        """Take no index of these names, or of any, for fresh until a server answered anew; ask for those in use.

        For the one thread that hears of changes. Each name takes at most so many seconds.
        """
        if names is None:
            self._changes.tell_all()
            names = list(self._known)
        else:
            for name in names:
                self._changes.tell(name)
        for name in names:
            if name in self._known and not self._changes.is_settled(name):
                self._ask(name, Deadline(seconds))

    def refresh_older(self, age_s: float, seconds: float) -> None:
        """Ask every tier for the indexes in use that were not confirmed for so long."""
        for name, hit in list(self._known.items()):
            if self._clock() - hit.confirmed_at >= age_s:
                self._compare(name, Deadline(seconds))

    def accept(self, name: str, envelope: bytes) -> IndexHit | Reason:
        """Verify an envelope from another host; return the newest that is known, which may be a later one."""
        verdict = self._verify(name, envelope, self._highest_on_disk(name))
        if isinstance(verdict, Rejected):
            self.refused.add(verdict.reason)
            return verdict.reason
        return self._learn(name, IndexHit(verdict, envelope, self._clock()))

    def _learn(self, name: str, hit: IndexHit) -> IndexHit:
        with self._lock:
            known = self._known.get(name)
            if known is not None and known.generation >= hit.generation:
                # The same one, confirmed again; or another thread was quicker with a later one.
                confirmed_at = max(known.confirmed_at, hit.confirmed_at)
                hit = replace(known, confirmed_at=confirmed_at) if known.generation == hit.generation else known
            self._known[name] = hit
            self._compared_at.setdefault(name, self._clock())
            return hit

    def _is_fresh(self, name: str, hit: IndexHit) -> bool:
        return self._clock() - hit.confirmed_at < self._refresh_s and self._changes.is_settled(name)

    def _is_due(self, name: str) -> bool:
        here = self._find_here(name)
        compared_at = self._compared_at.get(name)
        if here is None or compared_at is None or not self._is_fresh(name, here):
            return True
        return len(self._remote) > 1 and self._clock() - compared_at >= self._refresh_s

    def _find_here(self, name: str) -> IndexHit | None:
        """Return the newest of memory and disk; the disk is read where another process may know more."""
        self._policy()
        known = self._known.get(name)
        if known is None or not self._is_fresh(name, known):
            self._read_disk(name)
        return self._known.get(name)

    def _read_disk(self, name: str) -> None:
        try:
            found = self._disk.find(name)
            if found is None:
                return
            reason = self._learn_from(name, found)
            if reason is not None:
                self.refused.add(f"disk:{reason}")
            if reason in _SET_ASIDE:
                self._disk.quarantine(name, reason)
        except OSError:
            self.refused.add(f"disk:{Reason.DISK_UNUSABLE}")

    def _learn_from(self, name: str, found: StoredIndex) -> Reason | None:
        """Learn what lies on this host's disk, or return why it is refused."""
        # By its signature, not by the number above it: were that damaged, it would refuse every index for good.
        verdict = self._verify(name, found.envelope, 0)
        if isinstance(verdict, Rejected):
            return verdict.reason
        if verdict.document.generation != found.generation:
            return Reason.MALFORMED
        self._learn(name, IndexHit(verdict, found.envelope, self._clock() - found.age_s))
        return None

    def _ask(self, name: str, deadline: Deadline) -> IndexHit | Reason:
        """Ask the remote tiers in order until one has an index that is trusted; keep it on disk.

        Where none has, the reason is of the last one that had something to say.
        """
        reason = Reason.NO_INDEX
        for tier, share in iter_shares(self._remote, deadline):
            hit = self._ask_tier(tier, name, share)
            if isinstance(hit, IndexHit):
                self._keep(name, hit)
                return hit
            reason = hit or reason
        return reason

    def _compare(self, name: str, deadline: Deadline) -> None:
        """Ask every remote tier and keep the newest index of all."""
        hits = [self._ask_tier(tier, name, share) for tier, share in iter_shares(self._remote, deadline)]
        found = [hit for hit in hits if isinstance(hit, IndexHit)]
        if found:
            self._keep(name, max(found, key=lambda hit: hit.generation))
        if isinstance(hits[-1], IndexHit):
            self._compared_at[name] = self._clock()

    def _ask_tier(self, tier: GuardedTier[Any], name: str, deadline: Deadline) -> IndexHit | Reason | None:
        """Return a tier's newest index that is trusted, or why there is none; None where it never heard of one."""
        refused: Reason | None = None
        asked_at = self._changes.now()
        for rank in range(_TRIES):
            envelope = tier.ask(_question(name, rank), deadline)
            if envelope is None or isinstance(envelope, Reason):
                return refused or envelope
            hit = self.accept(name, envelope)
            if isinstance(hit, IndexHit):
                self._changes.settle(name, asked_at)
                return hit
            refused = refused or hit
        return refused

    def _keep(self, name: str, hit: IndexHit) -> None:
        disk = self._disk
        write_soon(
            lambda deadline: disk.put(name, hit.generation, hit.envelope, deadline),
            failed=lambda: self.refused.add("disk_write"),
        )

    def _verify(self, name: str, envelope: bytes, highest_seen: int) -> IndexVerdict:
        policy = self._policy()
        known = self._known.get(name)
        return verify_index(
            envelope,
            trust=policy,
            tenant=self._tenant,
            name=name,
            now=datetime.now(UTC),
            highest_seen=max(highest_seen, known.generation if known else 0),
        )

    def _policy(self) -> TrustPolicy:
        """Return who is believed now; what was verified before that changed is forgotten, and verified anew."""
        policy = self._trust()
        with self._lock:
            if policy is not self._believed:
                self._believed = policy
                self._disk = DiskIndex(self._folder, root=policy.root_public_hex)
                self._known.clear()
                self._compared_at.clear()
        return policy

    def _highest_on_disk(self, name: str) -> int:
        try:
            return self._disk.highest_generation(name)
        except OSError:
            self.refused.add(f"disk:{Reason.DISK_UNUSABLE}")
            return 0


def _question(name: str, rank: int) -> Callable[[RemoteTier], bytes | None]:
    return lambda tier: tier.find_index(name, rank=rank)
