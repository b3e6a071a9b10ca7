"""What a remote tier can do, and the guard that keeps its troubles away from the caller."""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Protocol, TypeVar

from morph_kernels.cache.background import in_background
from morph_kernels.cache.breaker import Breaker
from morph_kernels.cache.counts import Counts
from morph_kernels.cache.deadline import Deadline, Raised, call_within
from morph_kernels.errors import MorphError
from morph_kernels.identity import KernelDigest
from morph_kernels.reasons import Reason


class RemoteTier(Protocol):
    """Bundles by digest and index envelopes by name, somewhere else. All bytes are unverified.

    Promises, proved for every adapter in tests/contract/remote_tier.py: a get after a put sees it; a miss is None;
    trouble is an exception; nothing larger than the bound is ever returned; a bad object is not trouble but a miss, so
    that one of them does not cost all others the tier.
    """

    name: str

    def find_bundle(self, digest: KernelDigest, *, max_bytes: int) -> bytes | None:
        """Return the encoded bundle, or None where there is none of at most this size."""
        ...

    def put_bundle(self, digest: KernelDigest, data: bytes) -> bool:
        """Keep an encoded bundle; return whether there is room for it."""
        ...

    def drop_bundle(self, digest: KernelDigest) -> None:
        """Forget a bundle, where the tier is a cache that may; the store keeps what it has."""
        ...

    def find_index(self, blueprint: str, *, rank: int = 0) -> bytes | None:
        """Return the newest index envelope, or the one `rank` places before it, or None."""
        ...

    def put_index(self, blueprint: str, generation: int, envelope: bytes) -> None:
        """Keep an index envelope as the newest one."""
        ...

    def interrupt(self) -> None:
        """End questions that are under way, as far as the client library can: nobody waits for the late one."""
        ...


# Questions that a server answers without end go on after their deadline; this many, and no more are put to it.
_MOST_AT_ONCE = 32

T = TypeVar("T")
TierT = TypeVar("TierT", bound=RemoteTier)


class TooManyQuestionsError(MorphError):
    """As many questions as a tier may have at once are under way."""


class GuardedTier(Generic[TierT]):
    """A remote tier behind its breaker: every question has an answer within the deadline, and none is an exception."""

    def __init__(self, tier: TierT, *, breaker: Breaker | None = None) -> None:
        self.name = tier.name
        self.breaker = breaker or Breaker()
        self.counts = Counts()
        self.tier = tier
        self._turns = threading.BoundedSemaphore(_MOST_AT_ONCE)

    def ask(self, question: Callable[[TierT], T], deadline: Deadline) -> T | Reason:
        """Return the tier's answer, or why there is none."""
        if deadline.expired:
            # The tier was not asked, so this says nothing about it.
            return self._count(Reason.DEADLINE)
        if not self.breaker.admit():
            return self._count(Reason.BREAKER_OPEN)
        answer = call_within(deadline, lambda: self._question(question))
        if isinstance(answer, Raised):
            # Whatever a client library raises, training goes on without the tier.
            self.breaker.failed()
            self.counts.add(f"error:{type(answer.error).__name__}")
            return self._count(Reason.UNAVAILABLE)
        if answer is Reason.DEADLINE:
            self.breaker.failed()
            in_background(self.tier.interrupt, name="morph-interrupt")
            return self._count(Reason.DEADLINE)
        self.breaker.succeeded()
        self.counts.add("miss" if answer is None else "hit")
        if isinstance(answer, bytes):
            self.counts.add("bytes", len(answer))
        return answer

    def _question(self, question: Callable[[TierT], T]) -> T:
        if not self._turns.acquire(blocking=False):
            raise TooManyQuestionsError
        try:
            return question(self.tier)
        finally:
            self._turns.release()

    def _count(self, reason: Reason) -> Reason:
        self.counts.add(reason)
        return reason


def iter_shares(
    tiers: Sequence[GuardedTier[TierT]], deadline: Deadline
) -> Iterator[tuple[GuardedTier[TierT], Deadline]]:
    """Yield each tier with its share of the time that is left when its turn comes: half, and all for the last one.

    So a silent tier leaves time for the next.
    """
    for place, tier in enumerate(tiers, start=1):
        yield tier, deadline if place == len(tiers) else deadline.part(0.5)
