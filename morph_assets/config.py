"""The one reader of the environment in the platform half.

What both halves share (where the servers are) is read by `morph_kernels.settings`; here stand the facts that only the
platform needs: its home, the project's folder, Dagster's home, the keys, and whether the servers are its own.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from morph_kernels.errors import MorphError
from morph_kernels.settings import HOME_NAME, Endpoints, RuntimeSettings, find_home, read_endpoints, read_settings

ROLES = ("admin", "platform", "compiler", "evaluator", "publisher", "trainer", "controller", "auditor", "curator")
DEFAULT_TENANT = "default"
DAGSTER_DATABASE_VARIABLE = "MORPH_DAGSTER_DATABASE_URL"
SCRUB_RATE_VARIABLE = "MORPH_SCRUB_BYTES_PER_S"
OPERATOR_DATABASE_VARIABLE = "MORPH_OPERATOR_DATABASE_URL"


class PlatformConfigError(MorphError):
    """The environment asks for something that does not fit together."""


@dataclass(frozen=True)
class ExternalServers:
    """The production servers that the environment names; all None in the embedded profile.

    `redis_url` is the platform's user of Redis, where it has one of its own.
    """

    database_url: str | None = field(default=None, repr=False)
    redis_url: str | None = field(default=None, repr=False)
    store_url: str | None = field(default=None, repr=False)

    @property
    def is_production(self) -> bool:
        """Whether the servers are somebody else's to start."""
        return self.database_url is not None


@dataclass(frozen=True)
class PlatformFolders:
    """Where this project stands on disk; known before any server runs."""

    home: Path
    project: Path
    dagster_home: Path
    keys_dir: Path


@dataclass(frozen=True)
class StoragePolicy:
    """Where a tenant's kernels lie, by when they were used last; what is not set moves nothing.

    Attributes:
        cold_url: the place for what is cold; without one nothing is.
        hot_days: used within so many days, a kernel lies in Redis too.
        cold_days: unused for so many days, it leaves the store for the cold place.
        drop_days: unused for so many days, what can be rebuilt is removed for good, with a proof.
        drop_build_s: only what takes no more processor seconds than this to rebuild.
    """

    cold_url: str | None = field(default=None, repr=False)
    hot_days: float | None = None
    cold_days: float | None = None
    drop_days: float | None = None
    drop_build_s: float = 60.0


@dataclass(frozen=True)
class PlatformConfig:
    """Everything the platform takes from its surroundings, read once; `runtime` is what this host's loaders get.

    `claimed_actor` is who says to act through the logins: the log keeps it beside the login, as a claim.
    `scrub_bytes_per_s` is how fast stored kernels are read back while training uses the same disks and servers.
    """

    folders: PlatformFolders
    external: ExternalServers
    endpoints: Endpoints
    tenant: str = DEFAULT_TENANT
    claimed_actor: str = ""
    scrub_bytes_per_s: int = 32 * 1024**2
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    storage: StoragePolicy = StoragePolicy()


def read_config(environment: Mapping[str, str] | None = None, *, start: Path | None = None) -> PlatformConfig:
    """Read the whole configuration.

    Raises:
        SettingsError: the endpoints file is damaged.
        PlatformConfigError: only some of the production servers are named, or a rate is no whole number above zero.
    """
    environment = os.environ if environment is None else environment
    return PlatformConfig(
        folders=read_folders(environment, start=start),
        external=read_external(environment),
        endpoints=read_endpoints(environment, start=start),
        tenant=read_tenant(environment),
        claimed_actor=environment.get("MORPH_ACTOR") or "",
        scrub_bytes_per_s=_read_rate(environment),
        runtime=read_settings(environment, start=start),
        storage=read_storage_policy(environment),
    )


def _read_rate(environment: Mapping[str, str]) -> int:
    text = environment.get(SCRUB_RATE_VARIABLE) or str(PlatformConfig.scrub_bytes_per_s)
    if not (text.isascii() and text.isdigit() and int(text)):
        raise PlatformConfigError(f"{SCRUB_RATE_VARIABLE}={text!r} must be a whole number of bytes a second above zero")
    return int(text)


def read_storage_policy(environment: Mapping[str, str]) -> StoragePolicy:
    """Return where kernels lie.

    Raises:
        PlatformConfigError: a number is none.
    """
    return StoragePolicy(
        cold_url=environment.get("MORPH_COLD_STORE_URL") or None,
        hot_days=_amount(environment, "MORPH_HOT_DAYS"),
        cold_days=_amount(environment, "MORPH_COLD_DAYS"),
        drop_days=_amount(environment, "MORPH_DROP_DAYS"),
        drop_build_s=_amount(environment, "MORPH_DROP_BUILD_S", 60.0) or 0.0,
    )


def _amount(environment: Mapping[str, str], name: str, default: float | None = None) -> float | None:
    text = environment.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise PlatformConfigError(f"{name}={text!r} is no number of zero or more")
    return value


def read_tenant(environment: Mapping[str, str] | None = None) -> str:
    """Return the tenant this process works for."""
    environment = os.environ if environment is None else environment
    return environment.get("MORPH_TENANT") or DEFAULT_TENANT


def read_dagster_database(environment: Mapping[str, str] | None = None) -> str | None:
    """Return the URL of Dagster's own database, where the environment names it."""
    environment = os.environ if environment is None else environment
    return environment.get(DAGSTER_DATABASE_VARIABLE) or None


def read_dagster_home(environment: Mapping[str, str] | None = None) -> Path | None:
    """Return the folder of Dagster's instance, where the environment names it."""
    environment = os.environ if environment is None else environment
    named = environment.get("DAGSTER_HOME")
    return Path(named).expanduser().absolute() if named else None


def with_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with these variables, for a child."""
    return {**os.environ, **variables}


def enter_environment(variables: Mapping[str, str]) -> None:
    """Set the variables for this process, so that libraries which read the environment themselves find them."""
    os.environ.update(variables)


def plain_database_url(url: str) -> str:
    """Return the URL without SQLAlchemy's name of the driver, which means nothing to PostgreSQL's own programs."""
    return url.replace("postgresql+psycopg2://", "postgresql://", 1)


def read_operator_database(environment: Mapping[str, str] | None = None) -> str | None:
    """Return the URL of the registry's operator: a login that owns the database and may become the schema's owner."""
    environment = os.environ if environment is None else environment
    return environment.get(OPERATOR_DATABASE_VARIABLE) or environment.get("MORPH_DATABASE_URL") or None


def read_folders(environment: Mapping[str, str] | None = None, *, start: Path | None = None) -> PlatformFolders:
    """Return the folders; reads no endpoints, so that `morph up` can mend a damaged file.

    The project is the folder that holds `.morph`, or the current one if the home stands elsewhere.
    """
    environment = os.environ if environment is None else environment
    start = (start or Path.cwd()).absolute()
    home = find_home(environment, start) or start / HOME_NAME
    project = home.parent if home.name == HOME_NAME else start
    keys_dir = environment.get("MORPH_KEYS_DIR")
    return PlatformFolders(
        home=home,
        project=project,
        dagster_home=read_dagster_home(environment) or project / "dagster_home",
        keys_dir=Path(keys_dir).expanduser().absolute() if keys_dir else home / "trust" / "keys",
    )


def read_external(environment: Mapping[str, str] | None = None) -> ExternalServers:
    """Return the production servers named by the environment.

    Raises:
        PlatformConfigError: one of database and Redis is named without the other.
    """
    environment = os.environ if environment is None else environment
    database, redis = environment.get("MORPH_DATABASE_URL") or None, environment.get("MORPH_REDIS_URL") or None
    store = environment.get("MORPH_STORE_URL") or None
    if (database is None) != (redis is None) or (database is not None and store is None):
        named = {"MORPH_DATABASE_URL": database, "MORPH_REDIS_URL": redis, "MORPH_STORE_URL": store}
        missing = [name for name, value in named.items() if value is None]
        raise PlatformConfigError(
            f"{' and '.join(missing)} not set: set all three MORPH_*_URL for production servers, or none of them"
        )
    platforms = environment.get("MORPH_REDIS_PLATFORM_URL") or redis
    return ExternalServers(database_url=database, redis_url=redis and platforms, store_url=store)
