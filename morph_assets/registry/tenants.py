"""Tenants: their logins, limits and first event; made by the operator's login, never from inside a tenant."""

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from morph_assets.registry.connection import CONNECT_TIMEOUT_S
from morph_assets.registry.errors import InvalidRecordError, registry_error
from morph_assets.registry.migrate import OWNER, ROLES, create_role
from morph_kernels.identity import parse_name

MAX_TENANT_LENGTH = 40
DEFAULT_LIMITS = {
    "blueprints": 100_000,
    "kernels": 10_000_000,
    "blob_bytes": 64 * 1024**4,
    "checkpoints": 10_000_000,
    "builds_per_day": 10_000,
}
# On the login, where every session starts with them: a client that stops holds others up for seconds, not for good.
TIME_LIMITS = {"idle_in_transaction_session_timeout": "2s", "lock_timeout": "1s", "statement_timeout": "5s"}
_HAS_TRANSACTION_TIMEOUT = 170000


def login_name(tenant: str, role: str) -> str:
    """Return the login of a role in a tenant."""
    return f"morph_{tenant}_{role}"


def tenant_url(admin_url: str, tenant: str, role: str, password: str) -> str:
    """Return the URL by which a tenant's login reaches the operator's database."""
    return make_conninfo(admin_url, user=login_name(tenant, role), password=password)


def create_tenant(admin_url: str, tenant: str, passwords: Mapping[str, str]) -> None:
    """Make the tenant and its logins, one for each role that has a password; what is there stays, passwords are set.

    Raises:
        InvalidNameError: the tenant's name is not a name.
        InvalidRecordError: an unknown role, or a name longer than 40 characters.
        RegistryError: the login may not do it.
    """
    parse_name(tenant, what="tenant")
    unknown = set(passwords) - set(ROLES)
    if unknown:
        raise InvalidRecordError(f"no such role: {', '.join(sorted(unknown))}; there are {', '.join(ROLES)}")
    if len(tenant) > MAX_TENANT_LENGTH:
        raise InvalidRecordError(f"tenant {tenant} is longer than {MAX_TENANT_LENGTH} characters")
    try:
        with psycopg.connect(admin_url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            for role, password in passwords.items():
                _create_login(connection, login_name(tenant, role), f"morph_{role}", password)
            with connection.transaction():
                _create_rows(connection, tenant, tuple(passwords))
    except psycopg.Error as error:
        raise registry_error(error) from error


def set_quota(admin_url: str, tenant: str, resource: str, hard_limit: int, *, reason: str = "") -> int:
    """Set the hard limit of one resource and return the one before; told in the tenant's log.

    A tenant's own admin may only lower it: `morph_assets.registry.quotas.lower_quota`.

    Raises:
        InvalidRecordError: no such tenant or resource.
        GuardError: more than that is used already.
    """
    try:
        with psycopg.connect(admin_url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
            changed = connection.execute(
                "SELECT morph.set_quota_for(%s, %s, %s, %s)", (tenant, resource, hard_limit, reason)
            ).fetchone()
    except psycopg.Error as error:
        raise registry_error(error) from error
    return 0 if changed is None else int(changed[0])


def _create_login(connection: psycopg.Connection[Any], login: str, group: str, password: str) -> None:
    create_role(connection, login, sql.SQL("LOGIN"))
    name = sql.Identifier(login)
    # Encrypted here: a clear password would stand in the server's log.
    secret = connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(secret)))
    # PostgreSQL 17 has it. The auditor repeats a whole log in one snapshot, and locks nothing.
    whole = connection.info.server_version >= _HAS_TRANSACTION_TIMEOUT and group != "morph_auditor"
    for setting, value in (TIME_LIMITS | ({"transaction_timeout": "5s"} if whole else {})).items():
        connection.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(name, sql.Identifier(setting), sql.Literal(value))
        )
    connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), name))


def _create_rows(connection: psycopg.Connection[Any], tenant: str, roles: tuple[str, ...]) -> None:
    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))
    connection.execute("SET LOCAL lock_timeout = '5s'")
    members = {login_name(tenant, role): role for role in roles}
    connection.execute("SELECT morph.create_tenant_for(%s, %s, %s)", (tenant, Jsonb(DEFAULT_LIMITS), Jsonb(members)))
