"""Makes the data folder of the embedded PostgreSQL, and the databases and login it starts with."""

import secrets
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from morph_assets.devservices.binaries import postgres_binary
from morph_assets.devservices.errors import ServerFailedError, ServerGoneError
from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.process import SpawnUser, spawn
from morph_assets.devservices.spawn_user import give
from morph_kernels.durable_file import replace_file

if TYPE_CHECKING:
    import psycopg

BOOTSTRAP_LOGIN = "morph_bootstrap"
DAGSTER_LOGIN = "morph_dagster"
MORPH_DATABASE = "morph"
DAGSTER_DATABASE = "dagster"
_INITDB_TIMEOUT_S = 120.0
_CONNECT_TIMEOUT_S = 5
_RETRY_S = 0.02
# How often, and after what pause, a folder is tried that something is still ending in: five seconds.
_ENDING_TRIES, _ENDING_PAUSE_S = 50, 0.1


def database_url(layout: HomeLayout, *, port: int, login: str, password: str, database: str) -> str:
    """Return the libpq URL over the socket; it names the port because a stray PGPORT would otherwise decide it."""
    host = quote(str(layout.run), safe="/")
    return f"postgresql://{quote(login)}:{quote(password)}@/{database}?host={host}&port={port}"


def initialise_data(layout: HomeLayout, user: SpawnUser, *, password: str, meanwhile: Callable[[], object]) -> None:
    """Make the data folder: a killed initdb leaves a draft, never half a data folder.

    Args:
        layout: the home.
        user: the identity the server will run under.
        password: the bootstrap login's.
        meanwhile: called while initdb works, which takes half of a first start.

    Raises:
        ServerFailedError: initdb failed.
    """
    draft, log = layout.postgres_draft, layout.log_file("initdb")
    for left in draft.parent.glob(f"{draft.name}*"):
        _remove_draft(left, log)
    draft.mkdir(mode=0o700)
    with _password_file(layout, password) as password_file:
        give(user, draft)
        give(user, password_file)
        child = spawn(
            _initdb_command(draft, password_file),
            user=user,
            death_signal=signal.SIGKILL,  # asked gently it would clean up, while the next start does the same
            folder=draft,
            log=log,
        )
        meanwhile()
        if child.wait(_INITDB_TIMEOUT_S) != 0:
            raise ServerFailedError("initdb", f"failed with exit status {child.returncode}", log)
    draft.rename(layout.postgres_data)


def _remove_draft(draft: Path, log: Path) -> None:
    """Take away what a killed initdb left.

    The server that it was feeding dies a moment later, and writes and removes files meanwhile: out of the way of the
    next one first, whose folder has the same name.
    """
    aside = draft.with_name(f"{draft.name}.{secrets.token_hex(4)}")
    draft.rename(aside)
    for _ in range(_ENDING_TRIES):
        shutil.rmtree(aside, ignore_errors=True)
        if not aside.exists():
            return
        time.sleep(_ENDING_PAUSE_S)
    raise ServerFailedError("initdb", f"was killed and something of it still writes to {aside}", log)


def _initdb_command(draft: Path, password_file: Path) -> list[str | Path]:
    return [
        postgres_binary("initdb"),
        "--pgdata",
        draft,
        f"--username={BOOTSTRAP_LOGIN}",
        f"--pwfile={password_file}",
        "--auth-local=scram-sha-256",
        "--auth-host=scram-sha-256",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
        "--no-instructions",
        "--sync-method=syncfs",  # once for the file system instead of once for every one of a thousand files
    ]


@contextmanager
def _password_file(layout: HomeLayout, password: str) -> Iterator[Path]:
    path = layout.run / f"initdb-{secrets.token_hex(8)}"
    replace_file(path, password.encode())
    try:
        yield path
    finally:
        path.unlink()


def ensure_databases(
    url: str, *, dagster_password: str, log: Path, timeout_s: float, is_supervised: Callable[[], bool]
) -> None:
    """Make what is missing as soon as the server lets the bootstrap login in: two databases and Dagster's login.

    Raises:
        ServerGoneError: the supervisor ended meanwhile; starting it again helps.
        ServerFailedError: the server did not answer in time, or refuses the stored password.
    """
    import psycopg

    deadline = time.monotonic() + timeout_s
    while True:
        try:
            _make_missing(url, dagster_password)
        except psycopg.OperationalError as error:
            problem = (str(error).strip() or type(error).__name__).splitlines()[-1]
            if "password authentication failed" in problem or time.monotonic() > deadline:
                raise ServerFailedError("postgres", f"does not let us in ({problem})", log) from error
            if not is_supervised():
                raise ServerGoneError(log) from error
        else:
            return
        time.sleep(_RETRY_S)


def _make_missing(url: str, dagster_password: str) -> None:
    import psycopg

    with psycopg.connect(url, autocommit=True, connect_timeout=_CONNECT_TIMEOUT_S) as connection:
        logins = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [DAGSTER_LOGIN]).fetchall()
        present = {str(row[0]) for row in connection.execute("SELECT datname FROM pg_database").fetchall()}
        if not logins:
            _create_dagster_login(connection, dagster_password)
        if MORPH_DATABASE not in present:
            connection.execute(f"CREATE DATABASE {MORPH_DATABASE}")
        if DAGSTER_DATABASE not in present:
            connection.execute(f"CREATE DATABASE {DAGSTER_DATABASE} OWNER {DAGSTER_LOGIN}")
            connection.execute(f"REVOKE ALL ON DATABASE {DAGSTER_DATABASE} FROM PUBLIC")


def _create_dagster_login(connection: "psycopg.Connection", password: str) -> None:
    from psycopg import sql

    # Encrypted here: a clear password would stand in the server's log if the statement failed.
    secret = connection.pgconn.encrypt_password(password.encode(), DAGSTER_LOGIN.encode(), b"scram-sha-256").decode()
    statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
    connection.execute(statement.format(sql.Identifier(DAGSTER_LOGIN), sql.Literal(secret)))
