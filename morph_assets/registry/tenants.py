"""Tenants: their logins, limits and first event; made by the operator's login, never from inside a tenant."""

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg import sql

from morph_assets.registry.connection import CONNECT_TIMEOUT_S
from morph_assets.registry.errors import InvalidRecordError, registry_error
from morph_assets.registry.migrate import OWNER, ROLES, create_role
from morph_kernels.identity import parse_name

MAX_TENANT_LENGTH = 40
DEFAULT_LIMITS = {"blueprints": 100_000, "kernels": 10_000_000, "blob_bytes": 64 * 1024**4, "checkpoints": 10_000_000}
# On the login, where every session starts with them: a client that stops holds others up for seconds, not for good.
TIME_LIMITS = {"idle_in_transaction_session_timeout": "2s", "lock_timeout": "1s", "statement_timeout": "5s"}


def login_name(tenant: str, role: str) -> str:
    """Return the login of a role in a tenant."""
    return f"morph_{tenant}_{role}"


def create_tenant(admin_url: str, tenant: str, passwords: Mapping[str, str]) -> None:
    """Make the tenant and its logins, one for each role that has a password; what is there stays, passwords are set.

    Raises:
        InvalidNameError: the tenant's name is not a name.
        InvalidRecordError: an unknown role, or a name longer than 40 characters.
        RegistryError: the login may not do it.
    """
    parse_name(tenant, what="tenant")
    unknown = set(passwords) - set(ROLES)
    if unknown or len(tenant) > MAX_TENANT_LENGTH:
        raise InvalidRecordError(f"tenant {tenant}: unknown roles {sorted(unknown)}, or longer than 40 characters")
    try:
        with psycopg.connect(admin_url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            for role, password in passwords.items():
                _create_login(connection, login_name(tenant, role), f"morph_{role}", password)
            with connection.transaction():
                _create_rows(connection, tenant, tuple(passwords))
    except psycopg.Error as error:
        raise registry_error(error) from error


def set_quota(admin_url: str, tenant: str, resource: str, hard_limit: int) -> None:
    """Set the hard limit of one resource.

    Raises:
        InvalidRecordError: no such tenant or resource.
    """
    try:
        with psycopg.connect(admin_url, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(OWNER)))
            changed = connection.execute(
                "UPDATE morph.quota SET hard_limit = %s WHERE tenant = %s AND resource = %s",
                (hard_limit, tenant, resource),
            ).rowcount
    except psycopg.Error as error:
        raise registry_error(error) from error
    if changed != 1:
        raise InvalidRecordError(f"tenant {tenant} has no quota of {resource}")


def _create_login(connection: psycopg.Connection[Any], login: str, group: str, password: str) -> None:
    create_role(connection, login, sql.SQL("LOGIN"))
    name = sql.Identifier(login)
    # Encrypted here: a clear password would stand in the server's log.
    secret = connection.pgconn.encrypt_password(password.encode(), login.encode(), b"scram-sha-256").decode()
    connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(secret)))
    for setting, value in TIME_LIMITS.items():
        connection.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(name, sql.Identifier(setting), sql.Literal(value))
        )
    connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), name))


def _create_rows(connection: psycopg.Connection[Any], tenant: str, roles: tuple[str, ...]) -> None:
    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(OWNER)))
    connection.execute("SET LOCAL lock_timeout = '5s'")
    created = connection.execute("INSERT INTO morph.tenant (tenant) VALUES (%s) ON CONFLICT DO NOTHING", (tenant,))
    for resource, limit in DEFAULT_LIMITS.items():
        connection.execute(
            "INSERT INTO morph.quota (tenant, resource, hard_limit) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (tenant, resource, limit),
        )
    connection.execute("INSERT INTO morph.chain_head (tenant) VALUES (%s) ON CONFLICT DO NOTHING", (tenant,))
    for role in roles:
        connection.execute(
            "INSERT INTO morph.tenant_member (login, tenant, role) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
            (login_name(tenant, role), tenant, role),
        )
    if created.rowcount == 1:
        connection.execute(
            "SELECT morph.append_event_for(%s, 'tenant.created', %s, jsonb_build_object('tenant', %s::text))",
            (tenant, f"tenant/{tenant}", tenant),
        )
