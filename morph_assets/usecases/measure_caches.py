"""Says what each tier holds, against what it may hold."""

from dataclasses import dataclass
from typing import Literal

from morph_assets.connections import Connections
from morph_assets.usecases.find_redis_cap import find_redis_cap
from morph_kernels.cache.redis_tier import RedisTier
from morph_kernels.store import StoreError
from morph_kernels.store.keys import bundle_prefix

TierName = Literal["disk", "redis", "store"]


@dataclass(frozen=True)
class TierState:
    """One tier: kernels and their bytes. `budget_bytes` is None where there is no limit; not `available`: no answer."""

    tier: TierName
    entries: int
    size_bytes: int
    budget_bytes: int | None
    available: bool

    @property
    def excess_bytes(self) -> int:
        """How far the tier is over its budget."""
        return 0 if self.budget_bytes is None else max(0, self.size_bytes - self.budget_bytes)


@dataclass(frozen=True)
class CacheState:
    """Every tier, nearest first."""

    tiers: tuple[TierState, ...]

    @property
    def over_budget(self) -> tuple[TierName, ...]:
        """The tiers that hold more than they may."""
        return tuple(tier.tier for tier in self.tiers if tier.excess_bytes)


def measure_caches(connections: Connections) -> CacheState:
    """Return the state of this host's disk, of Redis and of the store; a tier that does not answer says so."""
    return CacheState((_disk(connections), _redis(connections), _store(connections)))


def _disk(connections: Connections) -> TierState:
    held = connections.disk.kernels()
    budget = connections.config.runtime.disk_budget_bytes
    return TierState("disk", len(held), sum(kernel.size_bytes for kernel in held), budget, available=True)


def _redis(connections: Connections) -> TierState:
    def measure(redis: RedisTier) -> TierState:
        held, budget = redis.kernels(), find_redis_cap(redis)
        return TierState("redis", len(held), sum(kernel.size_bytes for kernel in held), budget, available=True)

    return connections.ask_redis("redis_measure", measure) or TierState("redis", 0, 0, None, available=False)


def _store(connections: Connections) -> TierState:
    try:
        sizes = [entry.size_bytes for entry in connections.store.list_objects(bundle_prefix(connections.tenant))]
    except StoreError:
        connections.counts["store_measure"] += 1
        return TierState("store", 0, 0, None, available=False)
    return TierState("store", len(sizes), sum(sizes), None, available=True)
