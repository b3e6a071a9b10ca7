"""What any of our databases holds, the registry's or Dagster's: whether it is empty, and how large its tables are."""

from dataclasses import dataclass

import psycopg

from morph_assets.registry.connection import CONNECT_TIMEOUT_S
from morph_assets.registry.errors import registry_error


@dataclass(frozen=True)
class TableSize:
    """A table with what belongs to it: indexes and long values."""

    table: str
    rows: int
    size_bytes: int


def is_empty(url: str) -> bool:
    """Return whether nobody has made a table, a function or a schema in the database.

    Raises:
        RegistryError: it does not answer, or refuses the login.
    """
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            row = connection.execute(
                """WITH ours AS (SELECT oid, nspname FROM pg_namespace
                                 WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
                   SELECT EXISTS (SELECT FROM pg_class JOIN ours ON ours.oid = relnamespace)
                       OR EXISTS (SELECT FROM pg_proc JOIN ours ON ours.oid = pronamespace)
                       OR EXISTS (SELECT FROM ours WHERE nspname <> 'public')"""
            ).fetchone()
    except psycopg.Error as error:
        raise registry_error(error) from error
    return row == (False,)


def measure_tables(url: str, tables: tuple[str, ...]) -> tuple[TableSize, ...]:
    """Return the exact number of rows and the size of each table that is there.

    Raises:
        RegistryError: it does not answer, or refuses the login.
    """
    sizes = []
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            for table in tables:
                name = psycopg.sql.Identifier(table)
                if connection.execute("SELECT to_regclass(%s)", (f'"{table}"',)).fetchone() == (None,):
                    continue
                query = psycopg.sql.SQL("SELECT count(*), pg_total_relation_size({}::regclass) FROM {}")
                found = connection.execute(query.format(psycopg.sql.Literal(f'"{table}"'), name)).fetchone()
                if found is not None:
                    sizes.append(TableSize(table, *found))
    except psycopg.Error as error:
        raise registry_error(error) from error
    return tuple(sizes)
