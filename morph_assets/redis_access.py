"""What a tenant's two users of Redis may do there: the platform's, and the one of loaders in training jobs."""

from hashlib import sha256
from typing import Final, Literal

RedisRole = Literal["loader", "platform"]
REDIS_ROLES: Final[tuple[RedisRole, ...]] = ("loader", "platform")

# What the scripts of the Redis tier do is checked command by command, as if their caller had done it.
_BOOKS: Final = (
    "+get +set +del +strlen +getrange +incrby +decrby +hget +hset +hdel +hexists +hincrby +hlen +hkeys "
    "+zadd +zrem +zrange +zscore +zcard +sismember +evalsha +script|load"
)
_LOADER: Final = f"{_BOOKS} +ping +subscribe"
_PLATFORM: Final = f"{_LOADER} +publish +eval +exists +hgetall +sadd +multi +exec +info"


def redis_user(tenant: str, role: RedisRole) -> str:
    """Return the name of a tenant's user."""
    return f"morph_{tenant}_{role}"


def redis_rules(tenant: str, role: RedisRole, *, password: str) -> str:
    """Return the line of an ACL file that makes the user, with a hash in place of the password.

    A loader reads indexes, pins and the cap, hears what changed, and writes bundles and their books; no user touches
    another tenant's keys or hears of them.
    """
    prefix = f"morph:{tenant}:"
    if role == "platform":
        keys, commands = f"~{prefix}*", _PLATFORM
    else:
        written = " ".join(f"~{prefix}{name}" for name in ("bundle:*", "sizes", "uses", "rank", "clock", "total"))
        read = " ".join(f"%R~{prefix}{name}" for name in ("index:*", "pins", "cap"))
        keys, commands = f"{read} {written}", _LOADER
    secret = sha256(password.encode()).hexdigest()
    return f"user {redis_user(tenant, role)} on #{secret} resetchannels &{prefix}changed -@all {commands} {keys}"
