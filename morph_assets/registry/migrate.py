"""Bringing a database to the schema's newest version, from any older one or from nothing."""

from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from morph_assets.registry.connection import CONNECT_TIMEOUT_S
from morph_assets.registry.errors import RegistryError, registry_error
from morph_assets.registry.migrations.statements import apply_current

OWNER = "morph_owner"
ROLES = ("platform", "compiler", "evaluator", "publisher", "trainer", "controller", "auditor", "curator", "admin")
# Any number, the same for every migrator.
_LOCK_KEY = 0x6D6F727068
_MIN_SERVER_VERSION = 160000
_REVOKE_FROM_PUBLIC = """
    DO $$
    DECLARE
        given text;
    BEGIN
        FOR given IN SELECT p.oid::regprocedure FROM pg_proc p
                     WHERE p.pronamespace = 'pg_catalog'::regnamespace
                       AND (p.proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'pg_logical_emit_message')
                            OR p.proname ~ '^pg_(try_)?advisory_') LOOP
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', given);
        END LOOP;
    END $$"""


class MigrationError(RegistryError):
    """The database cannot be brought to this version of the schema; the message says why."""


def migrate(admin_url: str) -> None:
    """Bring the database to the newest schema; one that is there already is left as it is. Two at once are safe.

    The login must own the database and hold CREATEROLE, or be a superuser.

    Raises:
        MigrationError: the server is older than PostgreSQL 16, the login may not do it, or the schema is newer.
        RegistryError: a lock or a statement took too long; nothing of that migration remains.
    """
    try:
        with psycopg.connect(admin_url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            if connection.info.server_version < _MIN_SERVER_VERSION:
                raise MigrationError(f"PostgreSQL 16 or newer is needed, this is {connection.info.server_version}")
            connection.execute("SET lock_timeout = '60s'")
            connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK_KEY,))
            create_roles(connection)
            _create_schema(connection)
            _upgrade(admin_url)
            with _open_as_owner(admin_url) as owner:
                apply_current(owner)
    except psycopg.Error as error:
        raise registry_error(error) from error


def create_roles(connection: psycopg.Connection[Any]) -> None:
    """Make the owner and the groups where they are missing, and let this login become the owner."""
    for name in (OWNER, *(f"morph_{role}" for role in ROLES)):
        create_role(connection, name, sql.SQL("NOLOGIN"))
    if not _has_role(connection, OWNER, "SET"):
        connection.execute(
            sql.SQL("GRANT {} TO CURRENT_USER WITH INHERIT TRUE, SET TRUE").format(sql.Identifier(OWNER))
        )


def create_role(connection: psycopg.Connection[Any], name: str, options: sql.Composable) -> None:
    """Create a role where it is missing; roles belong to the whole server, another database may have made it."""
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone():
        return
    try:
        connection.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(name), options))
    except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
        return  # made at the same moment from another database of this server: just as well


def _has_role(connection: psycopg.Connection[Any], name: str, privilege: str) -> bool:
    row = connection.execute("SELECT pg_has_role(current_user, %s, %s)", (name, privilege)).fetchone()
    return row is not None and bool(row[0])


def _create_schema(connection: psycopg.Connection[Any]) -> None:
    database = sql.Identifier(connection.info.dbname)
    groups = sql.SQL(", ").join(sql.Identifier(f"morph_{role}") for role in ROLES)
    connection.execute(
        sql.SQL("CREATE SCHEMA IF NOT EXISTS morph AUTHORIZATION {}").format(sql.Identifier(OWNER)),
    )
    # Nobody but our logins connects, and they cannot put objects of their own in a function's way.
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, groups))
    # What the server gives to everybody: bytes outside of every quota, and locks like the one that migrations take.
    # A login that owns the database only gets a warning here: there the server's operator has to revoke them.
    connection.execute(_REVOKE_FROM_PUBLIC)


def _upgrade(admin_url: str) -> None:
    engine = create_engine("postgresql+psycopg://", creator=lambda: _open_as_owner(admin_url), poolclass=NullPool)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
    except CommandError as error:
        raise MigrationError(f"this database has a schema that this version does not know: {error}") from error
    finally:
        engine.dispose()


def _open_as_owner(admin_url: str) -> psycopg.Connection[Any]:
    connection = psycopg.connect(admin_url, connect_timeout=CONNECT_TIMEOUT_S)
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
    connection.execute("SET search_path = morph, pg_temp")
    connection.execute("SET lock_timeout = '5s'")
    connection.execute("SET statement_timeout = '60s'")
    connection.commit()
    return connection
