"""One moment of the whole registry, over all tenants, which a dump may share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from morph_assets.registry.connection import CONNECT_TIMEOUT_S
from morph_assets.registry.errors import registry_error
from morph_assets.registry.events import ChainHead
from morph_assets.registry.migrate import OWNER


@dataclass(frozen=True)
class RegistrySnapshot:
    """What stood there at the moment; `exported_id` is for other sessions that want to see the same.

    `rows` counts every table. Open only inside `open_snapshot`.
    """

    exported_id: str
    schema_version: str
    timeline: int
    heads: Mapping[str, ChainHead]
    rows: Mapping[str, int]
    _connection: psycopg.Connection[Any] = field(repr=False, compare=False)

    def iter_object_keys(self) -> Iterator[str]:
        """Yield the key of every object that a live blob lies in, each once."""
        query = """SELECT DISTINCT l.location FROM morph.blob_location l
                   JOIN morph.blob b ON b.tenant = l.tenant AND b.digest = l.digest WHERE b.state = 'live'"""
        with _typed_errors(), self._connection.cursor("object_keys") as cursor:
            for (location,) in cursor.execute(query):
                yield location


@contextmanager
def open_snapshot(url: str) -> Iterator[RegistrySnapshot]:
    """Look at the registry as its owner, read-only, at one moment; it stays that moment until the block ends.

    The login must be a superuser, or one that may become the owner of the schema.

    Raises:
        RegistryError: it does not answer, has no schema, or refuses the login.
    """
    with _typed_errors():
        connection = psycopg.connect(url, connect_timeout=CONNECT_TIMEOUT_S)
    with connection:
        with _typed_errors():
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            # Copying takes as long as it takes, and this session waits for it.
            for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
                connection.execute(sql.SQL("SET LOCAL {} = 0").format(sql.Identifier(limit)))
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))
            snapshot = _read(connection)
        yield snapshot


def _read(connection: psycopg.Connection[Any]) -> RegistrySnapshot:
    tables = connection.execute(
        """SELECT relname FROM pg_class WHERE relnamespace = 'morph'::regnamespace AND relkind IN ('r', 'p')
           AND NOT relispartition ORDER BY 1"""
    ).fetchall()
    rows = {}
    for (table,) in tables:
        query = sql.SQL("SELECT count(*) FROM morph.{}").format(sql.Identifier(table))
        rows[table] = _value(connection, query)
    heads = connection.execute("SELECT tenant, seq, hash FROM morph.chain_head ORDER BY tenant").fetchall()
    return RegistrySnapshot(
        exported_id=_value(connection, sql.SQL("SELECT pg_export_snapshot()")),
        schema_version=_value(connection, sql.SQL("SELECT version_num FROM morph.schema_version")),
        timeline=_value(connection, sql.SQL("SELECT max(timeline) FROM morph.timeline")),
        heads={tenant: ChainHead(seq, digest) for tenant, seq, digest in heads},
        rows=rows,
        _connection=connection,
    )


def _value(connection: psycopg.Connection[Any], query: sql.SQL | sql.Composed) -> Any:
    row = connection.execute(query).fetchone()
    return None if row is None else row[0]


@contextmanager
def _typed_errors() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise registry_error(error) from error
