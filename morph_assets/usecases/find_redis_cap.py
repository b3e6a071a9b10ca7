"""How much of a Redis server our bundles may take."""

from morph_kernels.cache.redis_tier import RedisTier

# The server drops by itself what it cannot hold: our own choice of what to drop comes before that.
_SHARE = 0.75


def find_redis_cap(redis: RedisTier) -> int | None:
    """Return how many bytes of bundles the server may hold, or None where it has no limit."""
    limit = redis.limit_bytes()
    return None if limit is None else int(limit * _SHARE)
