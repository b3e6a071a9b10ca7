"""Writes where the embedded servers are, for every client of this home."""

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.postgres import DAGSTER_DATABASE, DAGSTER_LOGIN, MORPH_DATABASE, database_url
from morph_assets.redis_access import RedisRole
from morph_kernels.durable_file import replace_file
from morph_kernels.settings import ENDPOINTS_FORMAT

# In SQLAlchemy 2.1 a bare `postgresql://` means psycopg 3, which dagster-postgres does not use.
_DAGSTER_SCHEME = "postgresql+psycopg2://"


def tenant_login(tenant: str, role: str) -> str:
    """Return the name of a tenant's login of one role."""
    return f"morph_{tenant}_{role}"


def tenant_database_urls(layout: HomeLayout, *, port: int, tenant: str, passwords: Mapping[str, str]) -> dict[str, str]:
    """Return the URL of every role, one login each."""
    return {
        role: database_url(
            layout, port=port, login=tenant_login(tenant, role), password=password, database=MORPH_DATABASE
        )
        for role, password in passwords.items()
    }


def dagster_database_url(layout: HomeLayout, *, port: int, password: str) -> str:
    """Return the URL that Dagster's own storage takes."""
    url = database_url(layout, port=port, login=DAGSTER_LOGIN, password=password, database=DAGSTER_DATABASE)
    return url.replace("postgresql://", _DAGSTER_SCHEME, 1)


def redis_url(layout: HomeLayout, *, user: str, password: str) -> str:
    """Return Valkey's URL over its socket, for one of its users."""
    return f"unix://{quote(user)}:{quote(password)}@{quote(str(layout.redis_socket), safe='/')}"


def write_endpoints(
    layout: HomeLayout,
    *,
    store_url: str | None,
    redis_urls: Mapping[RedisRole, str],
    database_urls: Mapping[str, str],
    dagster_database: str,
    keys_dir: Path,
) -> None:
    """Replace `endpoints.json`, whole or not at all, 0600."""
    document = {
        "format": ENDPOINTS_FORMAT,
        "store_url": store_url or f"file://{quote(str(layout.objects), safe='/')}",
        "redis_url": redis_urls["loader"],
        "redis_platform_url": redis_urls["platform"],
        "database_urls": dict(database_urls),
        "dagster_database_url": dagster_database,
        "trust_file": str(layout.trust_file),
        "keys_dir": str(keys_dir),
        "trainer_key": str(keys_dir / "trainer.pem"),
    }
    replace_file(layout.endpoints_file, json.dumps(document, indent=1).encode())
