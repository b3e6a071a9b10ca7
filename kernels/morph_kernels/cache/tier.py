"""What a remote tier can do, and the guard that keeps its troubles away from the caller."""

from collections import Counter
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from morph_kernels.cache.breaker import Breaker
from morph_kernels.cache.deadline import Deadline, call_within
from morph_kernels.identity import KernelDigest
from morph_kernels.reasons import Reason


class RemoteTier(Protocol):
    """Bundles by digest and index envelopes by name, somewhere else. All bytes are unverified.

    Promises, proved for every adapter in tests/contract/remote_tier.py: a get after a put sees it; a miss is None;
    trouble is an exception; nothing larger than the bound is ever returned.
    """

    name: str

    def find_bundle(self, digest: KernelDigest, *, max_bytes: int) -> bytes | None:
        """Return the encoded bundle, or None where there is none of at most this size."""
        ...

    def put_bundle(self, digest: KernelDigest, data: bytes) -> None:
        """Keep an encoded bundle."""
        ...

    def drop_bundle(self, digest: KernelDigest) -> None:
        """Forget a bundle, where the tier is a cache that may; the store keeps what it has."""
        ...

    def find_index(self, blueprint: str) -> bytes | None:
        """Return the newest index envelope, or None."""
        ...

    def put_index(self, blueprint: str, generation: int, envelope: bytes) -> None:
        """Keep an index envelope as the newest one."""
        ...


T = TypeVar("T")
TierT = TypeVar("TierT", bound=RemoteTier)


class GuardedTier(Generic[TierT]):
    """A remote tier behind its breaker: every question has an answer within the deadline, and none is an exception."""

    def __init__(self, tier: TierT, *, breaker: Breaker | None = None) -> None:
        self.name = tier.name
        self.breaker = breaker or Breaker()
        self.counts: Counter[str] = Counter()
        self._tier = tier

    def ask(self, question: Callable[[TierT], T], deadline: Deadline) -> T | Reason:
        """Return the tier's answer, or why there is none."""
        if not self.breaker.admit():
            return self._count(Reason.BREAKER_OPEN)
        try:
            answer = call_within(deadline, lambda: question(self._tier))
        except Exception as error:  # noqa: BLE001 - whatever a client library raises, training goes on without the tier
            self.breaker.failed()
            self.counts[f"error:{type(error).__name__}"] += 1
            return self._count(Reason.UNAVAILABLE)
        if answer is Reason.DEADLINE:
            self.breaker.failed()
            return self._count(Reason.DEADLINE)
        self.breaker.succeeded()
        self.counts["miss" if answer is None else "hit"] += 1
        return answer

    def _count(self, reason: Reason) -> Reason:
        self.counts[reason] += 1
        return reason
