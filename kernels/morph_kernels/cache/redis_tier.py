"""The Redis tier: one key a bundle, one a blueprint's index; one round trip each, bounded before it is sent."""

from collections.abc import Callable, Iterable
from typing import Any

from morph_kernels.artifact.index import MAX_INDEX_BYTES
from morph_kernels.cache import redis_scripts
from morph_kernels.cache.eviction import CachedKernel
from morph_kernels.cache.index_feed import IndexFeed
from morph_kernels.identity import KernelDigest
from morph_kernels.imports import uncollected

_CONNECT_S = 0.5
_ANSWER_S = 1.5
# The index names its generation only inside the envelope, so a key beside it does. 2^53 generations are exact in Lua.
_PUT_NEWER = """
if tonumber(ARGV[2]) >= (tonumber(redis.call('GET', KEYS[2]) or '') or 0) then
    redis.call('SET', KEYS[1], ARGV[1])
    redis.call('SET', KEYS[2], ARGV[2])
    redis.call('PUBLISH', ARGV[3], ARGV[4])
end
"""


class RedisTier:
    """Bundles and indexes of one tenant in Redis or Valkey. A cache: anything in it may vanish or be wrong."""

    name = "redis"

    def __init__(self, url: str, *, tenant: str) -> None:
        self._url, self._tenant = url, tenant
        self._client: Any = None
        self._scripts: dict[str, Any] = {}

    def find_bundle(self, digest: KernelDigest, *, max_bytes: int) -> bytes | None:
        """Return the encoded bundle, or None where there is none of at most this size."""
        return self._bounded(lambda: self._run(redis_scripts.FIND, digest, max_bytes), max_bytes)

    def peek_bundle(self, digest: KernelDigest, *, max_bytes: int) -> bytes | None:
        """Return what lies under a bundle's key, or None for nothing; this counts as no use.

        What is no string of at most this size reads as no bytes.
        """
        pipeline = self._connect().pipeline(transaction=True)
        pipeline.exists(self._key(f"bundle:{digest}"))
        pipeline.getrange(self._key(f"bundle:{digest}"), 0, max_bytes)
        exists, data = pipeline.execute(raise_on_error=False)
        if isinstance(exists, Exception):
            raise exists
        if not exists:
            return None
        return data if isinstance(data, bytes) and len(data) <= max_bytes else b""

    def put_bundle(self, digest: KernelDigest, data: bytes) -> bool:
        """Keep an encoded bundle, others dropped for it; return whether there is room beside what is pinned."""
        return bool(self._run(redis_scripts.PUT, digest, data))

    def drop_bundle(self, digest: KernelDigest) -> None:
        """Forget a bundle."""
        self._run(redis_scripts.DROP, digest)

    def bound(self, cap_bytes: int, *, pins: Iterable[KernelDigest] = ()) -> list[KernelDigest]:
        """Let this tenant's bundles take so many bytes from now on, and never drop these; return what went for it."""
        return [KernelDigest(digest.decode()) for digest in self._run(redis_scripts.BOUND, cap_bytes, *pins)]

    def find_index(self, blueprint: str, *, rank: int = 0) -> bytes | None:
        """Return the newest index envelope, or None; it is the only one here."""
        return self._read(self._index_key(blueprint), MAX_INDEX_BYTES) if rank == 0 else None

    def put_index(self, blueprint: str, generation: int, envelope: bytes) -> None:
        """Keep an index envelope and tell who listens, as one step, unless a later generation is there.

        A slow publisher never hides a revocation.
        """
        keys = (self._index_key(blueprint), f"{self._index_key(blueprint)}:generation")
        self._connect().eval(_PUT_NEWER, len(keys), *keys, envelope, generation, self._channel(), blueprint)

    def interrupt(self) -> None:
        """Close every connection that is in use: a server that answers without end fills no memory by it."""
        if self._client is not None:
            self._client.connection_pool.disconnect(inuse_connections=True)

    def open_feed(self) -> IndexFeed:
        """Return a feed of this tenant's indexes that are written from now on; its connection is its own."""
        connection = self._connect().connection_pool.make_connection()
        return IndexFeed(connection, self._channel(), answer_s=_ANSWER_S)

    def kernels(self) -> list[CachedKernel]:
        """Return what each of this tenant's bundles takes and what speaks for keeping it; this counts as no use."""
        pipeline = self._connect().pipeline(transaction=True)
        pipeline.hgetall(self._key("sizes"))
        pipeline.hgetall(self._key("uses"))
        pipeline.zrange(self._key("rank"), 0, -1, withscores=True)
        sizes, uses, rank = pipeline.execute()
        found = []
        for digest, priority in rank:
            if digest not in sizes:
                # A book was lost; the next put writes it anew.
                continue
            size_bytes, count = int(sizes[digest]), int(uses.get(digest, 1))
            clock = max(0.0, priority - count / max(1, size_bytes))
            found.append(CachedKernel(KernelDigest(digest.decode()), size_bytes, count, clock=clock))
        return found

    def limit_bytes(self) -> int | None:
        """Return what the server may hold for all its users together, or None where it has no limit."""
        limit = int(self._connect().info("memory")["maxmemory"])
        return limit or None

    def _read(self, key: str, max_bytes: int) -> bytes | None:
        # GETRANGE bounds the reply on the server: a value that somebody swelled never reaches this process.
        return self._bounded(lambda: self._connect().getrange(key, 0, max_bytes), max_bytes)

    def _bounded(self, read: Callable[[], Any], max_bytes: int) -> bytes | None:
        self._connect()
        from redis.exceptions import ResponseError

        try:
            data = read()
        except ResponseError as error:
            # A key of another type is that key's trouble, not the server's; the next put replaces it.
            if "WRONGTYPE" in str(error):
                return None
            raise
        # What answers may be no Redis at all.
        return data if isinstance(data, bytes) and 0 < len(data) <= max_bytes else None

    def _run(self, script: str, *arguments: Any) -> Any:
        client = self._connect()
        if script not in self._scripts:
            self._scripts[script] = client.register_script(script)
        books = ("sizes", "uses", "rank", "clock", "total")
        return self._scripts[script](keys=[self._key("bundle:"), *map(self._key, books)], args=arguments)

    def _key(self, name: str) -> str:
        return f"morph:{self._tenant}:{name}"

    def _index_key(self, blueprint: str) -> str:
        return self._key(f"index:{blueprint}")

    def _channel(self) -> str:
        return self._key("changed")

    def _connect(self) -> Any:
        if self._client is None:
            with uncollected():
                import redis
                from redis.backoff import NoBackoff
                from redis.maint_notifications import MaintNotificationsConfig
                from redis.retry import Retry

            # The defaults retry for seconds on a server that says nothing.
            self._client = redis.Redis.from_url(
                self._url,
                socket_connect_timeout=_CONNECT_S,
                socket_timeout=_ANSWER_S,
                retry=Retry(NoBackoff(), 0),
                protocol=3,
                # Saying who we are, and asking for notices that only one vendor's servers send, costs round trips.
                driver_info=None,
                maint_notifications_config=MaintNotificationsConfig(enabled=False),
            )
        return self._client
