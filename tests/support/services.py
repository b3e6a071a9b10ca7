"""The real embedded servers, started once a test session, and empty databases in them."""

import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from morph_assets.config import PlatformFolders
from morph_assets.devservices.endpoints_file import redis_url
from morph_assets.devservices.launch import BOOTSTRAP_SECRET
from morph_assets.devservices.passwords import read_passwords
from morph_assets.devservices.valkey_users import ADMINISTRATOR, REDIS_SECRET
from morph_assets.usecases.start_platform import StartedPlatform, admin_url, start_platform
from morph_assets.usecases.stop_platform import stop_platform


def folders_of(home: Path) -> PlatformFolders:
    """Return the folders of a project that consists of a home folder."""
    return PlatformFolders(
        home=home, project=home.parent, dagster_home=home / "dagster", keys_dir=home / "trust" / "keys"
    )


def bootstrap_url(started: StartedPlatform, database: str) -> str:
    """Return the superuser's URL of a database of the running servers."""
    passwords = read_passwords(started.layout.secrets_file, ())
    return admin_url(started.layout, started.ports, password=passwords[BOOTSTRAP_SECRET], database=database)


def valkey_url(started: StartedPlatform) -> str:
    """Return the URL of the administrator of the running Valkey, who may do everything with every tenant's keys."""
    passwords = read_passwords(started.layout.secrets_file, ())
    return redis_url(started.layout, user=ADMINISTRATOR, password=passwords[REDIS_SECRET])


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A private folder whose path is short enough for unix sockets, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="morph-", dir="/tmp"))  # mkdtemp makes it 0700
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def morph_home(short_folder) -> Path:
    """The MORPH_HOME of the test session."""
    return short_folder / ".morph"


@pytest.fixture(scope="session")
def running_services(morph_home) -> Iterator[StartedPlatform]:
    """The embedded PostgreSQL and Valkey, up for the whole test session."""
    yield start_platform(folders_of(morph_home), tenant="default")
    stop_platform(folders_of(morph_home))


@pytest.fixture
def fresh_database(running_services) -> Iterator[str]:
    """The superuser's URL of a new empty database; it is dropped afterwards."""
    name = f"test_{secrets.token_hex(6)}"
    administration = bootstrap_url(running_services, "postgres")
    with psycopg.connect(administration, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    yield bootstrap_url(running_services, name)
    with psycopg.connect(administration, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
