"""Makes an empty database ready to take a dump of the registry, and closes it again behind the dump."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg
from psycopg import sql

from morph_assets.registry.connection import CONNECT_TIMEOUT_S
from morph_assets.registry.errors import registry_error
from morph_assets.registry.migrate import OWNER, create_roles


@contextmanager
def opened_for_dump(admin_url: str) -> Iterator[None]:
    """Let the schema's owner, made when missing, create schemas in the database while the block runs.

    Raises:
        RegistryError: the database does not answer, or the login may not do it.
    """
    _allow(admin_url, "GRANT CREATE ON DATABASE {} TO {}")
    try:
        yield
    finally:
        _allow(admin_url, "REVOKE CREATE ON DATABASE {} FROM {}")


def _allow(admin_url: str, statement: LiteralString) -> None:
    try:
        with psycopg.connect(admin_url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            create_roles(connection)
            database = sql.Identifier(connection.info.dbname)
            connection.execute(sql.SQL(statement).format(database, sql.Identifier(OWNER)))
    except psycopg.Error as error:
        raise registry_error(error) from error
