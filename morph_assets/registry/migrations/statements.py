"""Carrying out the SQL files of one version."""

from pathlib import Path

from alembic import op

_SQL = Path(__file__).parent / "sql"


def apply_folder(revision: str) -> None:
    """Carry out `sql/<revision>/*.sql` in the order of their names, inside the migration's transaction."""
    for path in sorted((_SQL / revision).glob("*.sql")):
        # Not through `op.execute`: colons and percent signs in the files are SQL, not parameters.
        connection = op.get_bind().connection.dbapi_connection
        if connection is None:
            raise RuntimeError("a migration needs an open connection")
        cursor = connection.cursor()
        cursor.execute(path.read_text(encoding="utf-8"))
        cursor.close()
