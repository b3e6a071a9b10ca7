"""Opens an object store by its URL."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from morph_kernels.errors import MorphError
from morph_kernels.imports import uncollected
from morph_kernels.store.keys import parse_prefix
from morph_kernels.store.protocol import ObjectStore

if TYPE_CHECKING:
    from obstore.store import S3Config

_OPTIONS = frozenset(
    {
        "access_key_id",
        "allow_http",
        "endpoint",
        "region",
        "secret_access_key",
        "session_token",
        "virtual_hosted_style_request",
    }
)
_RETRIES = 2


class StoreUrlError(MorphError):
    """A store URL that cannot be understood. The message never repeats the URL: it may hold a secret."""


def open_store(url: str, *, timeout_s: float = 3.0) -> ObjectStore:
    """Open the store that the URL names; nothing is contacted yet.

    * `file:///absolute/folder`: the folder is made when missing; every put is flushed to disk.
    * `s3://bucket/prefix?endpoint=http://host:port&allow_http=true&region=...&access_key_id=...&secret_access_key=...`:
      what the URL leaves out comes from `AWS_*` in the environment, then from the instance's role.
    * `memory://`: a new empty store, seen by nobody else.

    Args:
        url: as above.
        timeout_s: the longest that one request may take; after two quick retries an unreachable server is a
            `StoreUnavailableError` within about this time. Large uploads need a larger one.

    Raises:
        StoreUrlError: unknown scheme or option, no bucket, a relative folder.
    """
    parts = urlsplit(url)
    match parts.scheme:
        case "file":
            return _open_folder(parts)
        case "s3":
            return _open_s3(parts, timeout_s)
        case "memory":
            return _open_memory()
    raise StoreUrlError(f"a store URL begins with file://, s3:// or memory://, not {parts.scheme[:20]!r}")


def _open_folder(parts: SplitResult) -> ObjectStore:
    from morph_kernels.store.local import LocalFolderStore

    folder = Path(unquote(parts.path))
    if parts.netloc or parts.query or not folder.is_absolute():
        raise StoreUrlError("a folder's URL is file:// and an absolute path, nothing else")
    try:
        return LocalFolderStore(folder)
    except (ValueError, OSError) as error:
        raise StoreUrlError(f"{folder} cannot be opened as a store: {str(error)[:200]}") from error


def _open_s3(parts: SplitResult, timeout_s: float) -> ObjectStore:
    with uncollected():
        from obstore.store import S3Store

        from morph_kernels.store.adapter import ObstoreStore

    options = dict(parse_qsl(parts.query))
    if not parts.hostname or not set(options) <= _OPTIONS:
        raise StoreUrlError(f"an s3 URL names a bucket and may have only {', '.join(sorted(_OPTIONS))}")
    prefix = parse_prefix(unquote(parts.path).removeprefix("/"))
    backend = S3Store(
        parts.hostname,
        prefix=prefix or None,
        config=cast("S3Config", _s3_config(options)),
        client_options={
            "allow_http": options.get("allow_http", "").lower() == "true",
            "connect_timeout": timedelta(seconds=min(1.0, timeout_s / 3)),
            "timeout": timedelta(seconds=timeout_s),
        },
        retry_config={
            "max_retries": _RETRIES,
            "retry_timeout": timedelta(seconds=timeout_s),
            "backoff": {
                "init_backoff": timedelta(milliseconds=50),
                "max_backoff": timedelta(milliseconds=500),
                "base": 2,
            },
        },
    )
    return ObstoreStore(backend, label=f"s3://{parts.hostname}/{prefix}")


def _s3_config(options: dict[str, str]) -> dict[str, str]:
    config = {name: value for name, value in options.items() if name != "allow_http"}
    # A self-hosted server has no regions, but every signature names one.
    return {"region": "us-east-1"} | config if "endpoint" in config else config


def _open_memory() -> ObjectStore:
    from obstore.store import MemoryStore

    from morph_kernels.store.adapter import ObstoreStore

    return ObstoreStore(MemoryStore(), label="memory://")
