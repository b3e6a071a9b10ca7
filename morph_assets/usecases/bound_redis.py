"""Tells Redis how much it may hold, and what it may not drop; it keeps to that by itself."""

from morph_assets.connections import Connections
from morph_assets.usecases.find_needed_kernels import find_needed_kernels
from morph_kernels.cache.redis_tier import RedisTier
from morph_kernels.identity import KernelDigest

# The server drops by itself what it cannot hold: our own choice of what to drop comes before that.
_SHARE = 0.75


def redis_cap(redis: RedisTier) -> int | None:
    """Return how many bytes of bundles the server may hold, or None where it has no limit."""
    limit = redis.limit_bytes()
    return None if limit is None else int(limit * _SHARE)


def bound_redis(connections: Connections) -> tuple[KernelDigest, ...]:
    """Set the cap and the pins of this tenant's bundles; return what was dropped for them.

    Where Redis is down or has no limit nothing is done; the former is counted.
    """
    needed = sorted(find_needed_kernels(connections))
    dropped: list[KernelDigest] = []

    def bound(redis: RedisTier) -> None:
        cap = redis_cap(redis)
        if cap is not None:
            dropped.extend(redis.bound(cap, pins=needed))

    connections.best_effort("redis_bound", bound)
    return tuple(dropped)
