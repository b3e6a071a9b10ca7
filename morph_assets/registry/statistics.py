"""What the planner knows of the tables; autovacuum keeps it fresh, a bulk load may not want to wait for that."""

import psycopg

from morph_assets.registry.connection import CONNECT_TIMEOUT_S
from morph_assets.registry.errors import registry_error


def refresh_statistics(admin_url: str) -> None:
    """Vacuum and analyse every table, as the operator.

    Raises:
        RegistryError: the login may not do it.
    """
    try:
        with psycopg.connect(admin_url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            connection.execute("VACUUM (ANALYZE)")
    except psycopg.Error as error:
        raise registry_error(error) from error
