"""Asks production servers, which are never started here, whether they answer and are new enough."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from morph_kernels.errors import MorphError

_POSTGRES_AT_LEAST = 16
_REDIS_AT_LEAST = 7
_CONNECT_TIMEOUT_S = 5


@dataclass(frozen=True)
class ServerAnswer:
    """What one server said, in one line without secrets."""

    name: str
    usable: bool
    detail: str
    advice: str = ""


def check_database(url: str) -> ServerAnswer:
    """Connect and compare the version."""
    import psycopg

    advice = "check MORPH_DATABASE_URL and that the server runs"
    try:
        with psycopg.connect(url, connect_timeout=_CONNECT_TIMEOUT_S) as connection:
            version = connection.info.server_version // 10000
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        return ServerAnswer("PostgreSQL", usable=False, detail=_first_line(error, url), advice=advice)
    return _versioned("PostgreSQL", version, str(version), _POSTGRES_AT_LEAST)


def check_redis(url: str) -> ServerAnswer:
    """Connect and compare the version; Valkey says its own, whose first was 7.2."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    advice = "check MORPH_REDIS_URL and that the server runs"
    users = "name the platform's user, not the loader's, in MORPH_REDIS_PLATFORM_URL: docs/operations.md"
    try:
        with redis.Redis.from_url(
            url,
            socket_timeout=_CONNECT_TIMEOUT_S,
            socket_connect_timeout=_CONNECT_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            info = client.info("server")
    except redis.exceptions.NoPermissionError as error:
        return ServerAnswer("Redis", usable=False, detail=_first_line(error, url), advice=users)
    except (redis.RedisError, OSError, ValueError) as error:
        return ServerAnswer("Redis", usable=False, detail=_first_line(error, url), advice=advice)
    version = str(info.get("valkey_version") or info["redis_version"])
    return _versioned("Redis", int(version.split(".", maxsplit=1)[0]), version, _REDIS_AT_LEAST)


def check_store(url: str) -> ServerAnswer:
    """List the store, which needs the address, the bucket and the credentials to be right."""
    from morph_kernels.store import open_store

    try:
        next(iter(open_store(url).list_objects("")), None)
    except (MorphError, OSError) as error:
        advice = "check MORPH_STORE_URL, its bucket and the credentials"
        return ServerAnswer("Object store", usable=False, detail=_first_line(error, url), advice=advice)
    return ServerAnswer("Object store", usable=True, detail=f"answers at {_without_secret(url)}")


def _versioned(name: str, major: int, version: str, at_least: int) -> ServerAnswer:
    if major < at_least:
        advice = f"version {at_least} or newer is needed"
        return ServerAnswer(name, usable=False, detail=f"is version {version}", advice=advice)
    return ServerAnswer(name, usable=True, detail=f"answers, version {version}")


def _first_line(error: Exception, url: str) -> str:
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    password = urlsplit(url).password
    return text.replace(password, "***") if password else text


def _without_secret(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
