"""Makes Dagster usable from the project's folder right after `morph up`, with nothing else to set by hand."""

import hashlib
from importlib.metadata import version
from pathlib import Path

from morph_assets.config import DEFAULT_TENANT, PlatformFolders
from morph_assets.devservices.errors import ServicesError
from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.locks import exclusive
from morph_assets.devservices.schema_stamp import plan_stamp, read_stamp, write_stamp
from morph_assets.usecases.adopt_blueprint import shipped_names
from morph_assets.usecases.read_environment import read_dagster_url
from morph_kernels.durable_file import replace_file

ACTIVE_BLUEPRINTS = "active_blueprints"
_CONFIGURATION = Path(__file__).parents[1] / "devservices" / "dagster.yaml"
_STAMP = "dagster:partitions"  # no tenant has a colon in its name
_LOCK_TIMEOUT_S = 120.0


def prepare_dagster(folders: PlatformFolders) -> None:
    """Give Dagster its home, if there is none, and register the shipped blueprints' names as partition keys.

    A key alone starts nothing: what nobody submitted is built only when somebody asks for it. A warm start finds that
    all is done without importing Dagster.

    Raises:
        ServicesError: the folder cannot be written, or the platform was never up here.
    """
    _prepare_home(folders.dagster_home)
    layout = HomeLayout(folders.home)
    with exclusive(layout.home, timeout_s=_LOCK_TIMEOUT_S):
        stamp = _plan_stamp(layout)
        if read_stamp(layout, _STAMP) != stamp:
            _register(read_dagster_url(folders))
            write_stamp(layout, _STAMP, stamp)


def _prepare_home(home: Path) -> None:
    path = home / "dagster.yaml"
    if path.exists():
        return
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(path, _CONFIGURATION.read_bytes())
    except OSError as error:
        raise ServicesError(
            f"{home} cannot be written ({error.strerror}): set DAGSTER_HOME to a folder of your own"
        ) from error


def _plan_stamp(layout: HomeLayout) -> str:
    facts = (plan_stamp(layout, DEFAULT_TENANT), version("dagster"), *shipped_names())
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _register(database_url: str) -> None:
    from dagster_postgres.event_log import PostgresEventLogStorage

    storage = PostgresEventLogStorage(database_url, should_autocreate_tables=True)
    try:
        storage.add_dynamic_partitions(ACTIVE_BLUEPRINTS, list(shipped_names()))
    finally:
        storage.dispose()
