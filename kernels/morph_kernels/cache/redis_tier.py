"""The Redis tier: one key a bundle, one a blueprint's index; one round trip each, bounded before it is sent."""

from dataclasses import dataclass
from typing import Any

from morph_kernels.artifact.index import MAX_INDEX_BYTES
from morph_kernels.identity import KernelDigest

_CONNECT_S = 0.5
_ANSWER_S = 1.5
# The index names its generation only inside the envelope, so a key beside it does. 2^53 generations are exact in Lua.
_PUT_NEWER = """
if tonumber(ARGV[2]) >= (tonumber(redis.call('GET', KEYS[2]) or '') or 0) then
    redis.call('SET', KEYS[1], ARGV[1])
    redis.call('SET', KEYS[2], ARGV[2])
end
"""


@dataclass(frozen=True)
class RedisUse:
    """What one bundle takes in the server's memory."""

    digest: KernelDigest
    size_bytes: int


class RedisTier:
    """Bundles and indexes of one tenant in Redis or Valkey. A cache: anything in it may vanish or be wrong."""

    name = "redis"

    def __init__(self, url: str, *, tenant: str) -> None:
        self._url, self._tenant = url, tenant
        self._client: Any = None

    def find_bundle(self, digest: KernelDigest, *, max_bytes: int) -> bytes | None:
        """Return the encoded bundle, or None where there is none of at most this size."""
        return self._read(self._bundle_key(digest), max_bytes)

    def put_bundle(self, digest: KernelDigest, data: bytes) -> None:
        """Keep an encoded bundle."""
        self._connect().set(self._bundle_key(digest), data)

    def drop_bundle(self, digest: KernelDigest) -> None:
        """Forget a bundle."""
        self._connect().delete(self._bundle_key(digest))

    def find_index(self, blueprint: str, *, rank: int = 0) -> bytes | None:
        """Return the newest index envelope, or None; it is the only one here."""
        return self._read(self._index_key(blueprint), MAX_INDEX_BYTES) if rank == 0 else None

    def put_index(self, blueprint: str, generation: int, envelope: bytes) -> None:
        """Keep an index envelope unless a later generation is there: a slow publisher never hides a revocation."""
        keys = (self._index_key(blueprint), f"{self._index_key(blueprint)}:generation")
        self._connect().eval(_PUT_NEWER, len(keys), *keys, envelope, generation)

    def uses(self) -> list[RedisUse]:
        """Return what this tenant's bundles take here, in order; reading it does not count as a use."""
        prefix = self._bundle_key(KernelDigest(""))
        client = self._connect()
        keys = sorted({key.decode() for key in client.scan_iter(match=f"{prefix}*", count=1000)})
        pipeline = client.pipeline(transaction=False)
        for key in keys:
            pipeline.memory_usage(key, samples=0)
        sizes = pipeline.execute()
        digests = [KernelDigest(key.removeprefix(prefix)) for key in keys]
        return [RedisUse(digest, size) for digest, size in zip(digests, sizes, strict=True) if size is not None]

    def limit_bytes(self) -> int | None:
        """Return what the server may hold for all its users together, or None where it has no limit."""
        limit = int(self._connect().info("memory")["maxmemory"])
        return limit or None

    def _read(self, key: str, max_bytes: int) -> bytes | None:
        # GETRANGE bounds the reply on the server: a value that somebody swelled never reaches this process.
        client = self._connect()
        from redis.exceptions import ResponseError

        try:
            data: bytes = client.getrange(key, 0, max_bytes)
        except ResponseError as error:
            # A key of another type is that key's trouble, not the server's; the next put replaces it.
            if str(error).startswith("WRONGTYPE"):
                return None
            raise
        return data if 0 < len(data) <= max_bytes else None

    def _bundle_key(self, digest: KernelDigest) -> str:
        return f"morph:{self._tenant}:bundle:{digest}"

    def _index_key(self, blueprint: str) -> str:
        return f"morph:{self._tenant}:index:{blueprint}"

    def _connect(self) -> Any:
        if self._client is None:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry

            # The defaults retry for seconds on a server that says nothing.
            self._client = redis.Redis.from_url(
                self._url,
                socket_connect_timeout=_CONNECT_S,
                socket_timeout=_ANSWER_S,
                retry=Retry(NoBackoff(), 0),
                driver_info=None,  # saying who we are costs round trips at every connection
            )
        return self._client
