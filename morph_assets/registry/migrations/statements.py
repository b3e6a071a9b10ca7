"""Carrying out SQL files: those of one version, once; those that say what is current, whenever they changed."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from alembic import op

_SQL = Path(__file__).parent / "sql"
_CURRENT = "current"


def apply_folder(revision: str) -> None:
    """Carry out `sql/<revision>/*.sql` in the order of their names, inside the migration's transaction."""
    connection = op.get_bind().connection.dbapi_connection
    if connection is None:
        raise RuntimeError("a migration needs an open connection")
    cursor = connection.cursor()
    for statements in _iter_files(revision):
        # Not through `op.execute`: colons and percent signs in the files are SQL, not parameters.
        cursor.execute(statements)
    cursor.close()


def apply_current(connection: psycopg.Connection[Any]) -> bool:
    """Replace every function, trigger and policy by the one that `sql/current` defines; false where nothing changed."""
    digest = hashlib.sha256("\0".join(_iter_files(_CURRENT)).encode()).hexdigest()
    with connection.transaction():
        if connection.execute("SELECT 1 FROM code_version WHERE digest = %s", (digest,)).fetchone():
            return False
        for statements in _iter_files(_CURRENT):
            connection.execute(statements.encode())
        connection.execute(
            """INSERT INTO code_version (digest) VALUES (%s)
               ON CONFLICT (only_row) DO UPDATE SET digest = excluded.digest, applied_at = now()""",
            (digest,),
        )
    return True


def _iter_files(folder: str) -> Iterator[str]:
    for path in sorted((_SQL / folder).glob("*.sql")):
        yield path.read_text(encoding="utf-8")
