"""The one reader of the environment in the thin half.

`MORPH_DATABASE_URL`, `MORPH_REDIS_URL` and `MORPH_STORE_URL` name production servers. Where they are unset, the
embedded servers' endpoints are read from `$MORPH_HOME/endpoints.json`, which `morph up` writes.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from morph_kernels.errors import MorphError

ENDPOINTS_FORMAT = 1
ENDPOINTS_NAME = "endpoints.json"
HOME_NAME = ".morph"
_MAX_ENDPOINTS_BYTES = 64 * 1024


class SettingsError(MorphError):
    """The environment or an endpoints file says something that cannot be used."""


@dataclass(frozen=True)
class Endpoints:
    """Where the servers are; None where there is none. Database URLs are by role, one login each.

    `trust_root` pins the root's public key (hexadecimal) from outside the trust file. `trainer_key` is the private key
    that signs what a training job commits. `redis_url` is the loader's user of Redis; the platform may have one of its
    own, who may do more.
    """

    home: Path | None = None
    store_url: str | None = field(default=None, repr=False)
    redis_url: str | None = field(default=None, repr=False)
    redis_platform_url: str | None = field(default=None, repr=False)
    database_urls: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    trust_file: Path | None = None
    trust_root: str | None = None
    trainer_key: Path | None = None

    def database_url(self, role: str) -> str | None:
        """Return the URL that logs in as the role, or None where no database is known."""
        return self.database_urls.get(role) or self.database_urls.get("*")


@dataclass(frozen=True)
class RuntimeSettings:
    """What the loader and the checkpointer need to know about their surroundings."""

    endpoints: Endpoints = Endpoints()
    tenant: str = "default"
    cache_dir: Path = Path(HOME_NAME) / "cache"
    deadline_s: float = 2.0
    refresh_s: float = 60.0
    breaker_rest_s: float = 5.0
    disk_budget_bytes: int = 4 * 1024**3
    library_cap: int = 256
    allow_development_keys: bool = False


def find_home(environment: Mapping[str, str], start: Path) -> Path | None:
    """Return `$MORPH_HOME`, or the nearest `.morph` folder with endpoints at or above `start`, or None."""
    if environment.get("MORPH_HOME"):
        return Path(environment["MORPH_HOME"]).expanduser().absolute()
    start = start.absolute()
    for folder in (start, *start.parents):
        if (folder / HOME_NAME / ENDPOINTS_NAME).is_file():
            return folder / HOME_NAME
    return None


def read_endpoints(environment: Mapping[str, str] | None = None, *, start: Path | None = None) -> Endpoints:
    """Read where the servers are; the environment wins over the endpoints file, each setting by itself.

    Raises:
        SettingsError: the endpoints file is there but cannot be read as one.
    """
    environment = os.environ if environment is None else environment
    home = find_home(environment, start or Path.cwd())
    document = _read_endpoints_file(home / ENDPOINTS_NAME) if home is not None else {}
    urls = dict(document.get("database_urls", {}))
    if environment.get("MORPH_DATABASE_URL"):
        urls = {"*": environment["MORPH_DATABASE_URL"]}
    prefix = "MORPH_DATABASE_URL_"
    urls |= {name[len(prefix) :].lower(): url for name, url in environment.items() if name.startswith(prefix) and url}
    trust = environment.get("MORPH_TRUST_FILE") or document.get("trust_file")
    trainer_key = environment.get("MORPH_TRAINER_KEY") or document.get("trainer_key")
    return Endpoints(
        home=home,
        store_url=environment.get("MORPH_STORE_URL") or document.get("store_url"),
        redis_url=environment.get("MORPH_REDIS_URL") or document.get("redis_url"),
        redis_platform_url=_redis_platform_url(environment, document),
        database_urls=MappingProxyType(urls),
        trust_file=Path(trust) if trust else None,
        trust_root=environment.get("MORPH_TRUST_ROOT") or None,
        trainer_key=Path(trainer_key) if trainer_key else None,
    )


def _redis_platform_url(environment: Mapping[str, str], document: Mapping[str, Any]) -> str | None:
    named = environment.get("MORPH_REDIS_PLATFORM_URL")
    # Where the environment names another server, the file's user is not one of it.
    return named or (None if environment.get("MORPH_REDIS_URL") else document.get("redis_platform_url"))


def read_settings(environment: Mapping[str, str] | None = None, *, start: Path | None = None) -> RuntimeSettings:
    """Read the runtime settings of this process.

    Raises:
        SettingsError: a value has the wrong form; the message names the variable.
    """
    environment = os.environ if environment is None else environment
    endpoints = read_endpoints(environment, start=start)
    default_cache = (endpoints.home or Path.home() / ".cache" / "morph") / "cache"
    return RuntimeSettings(
        endpoints=endpoints,
        tenant=environment.get("MORPH_TENANT", "default"),
        cache_dir=Path(environment.get("MORPH_CACHE_DIR") or default_cache).expanduser().absolute(),
        deadline_s=_number(environment, "MORPH_DEADLINE_S", 2.0),
        refresh_s=_number(environment, "MORPH_REFRESH_S", 60.0),
        disk_budget_bytes=int(_number(environment, "MORPH_DISK_BUDGET_BYTES", 4 * 1024**3)),
        library_cap=int(_number(environment, "MORPH_LIBRARY_CAP", 256)),
        allow_development_keys=environment.get("MORPH_ALLOW_DEVELOPMENT_KEYS") == "1",
    )


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    text = environment.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise SettingsError(f"{name}={text!r} is not a number") from None
    if not 0 < value < float("inf"):
        raise SettingsError(f"{name}={text!r} must be greater than zero")
    return value


def _read_endpoints_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_ENDPOINTS_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise SettingsError(f"cannot read {path}: {error.strerror}") from error
    try:
        document = json.loads(raw)
    except ValueError as error:
        raise SettingsError(f"{path} is not JSON; `morph up` writes it anew") from error
    if not isinstance(document, dict) or document.get("format") != ENDPOINTS_FORMAT:
        raise SettingsError(f"{path} is not an endpoints file of format {ENDPOINTS_FORMAT}; `morph up` writes it anew")
    return document
