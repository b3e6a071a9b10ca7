"""Tells Redis how much it may hold, and what it may not drop; it keeps to that by itself."""

from morph_assets.connections import Connections
from morph_assets.usecases.find_needed_kernels import find_needed_kernels
from morph_assets.usecases.find_redis_cap import find_redis_cap
from morph_kernels.cache.redis_tier import RedisTier
from morph_kernels.identity import KernelDigest


def bound_redis(connections: Connections) -> tuple[KernelDigest, ...]:
    """Set the cap and the pins of this tenant's bundles; return what was dropped for them.

    Where Redis is down or has no limit nothing is done; the former is counted.
    """
    needed = sorted(find_needed_kernels(connections))

    def bound(redis: RedisTier) -> tuple[KernelDigest, ...]:
        cap = find_redis_cap(redis)
        return () if cap is None else tuple(redis.bound(cap, pins=needed))

    return connections.ask_redis("redis_bound", bound) or ()
