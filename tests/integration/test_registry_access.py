"""What each login may not do, tried over raw connections: nothing stands between it and the database."""

import psycopg
import pytest
from psycopg import sql

from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import NotAMemberError, RegistryUnavailableError
from morph_assets.registry.kernels import list_kernels
from morph_assets.registry.migrate import ROLES

TENANT_TABLES = (
    "alias",
    "alias_history",
    "attestation",
    "blob",
    "blob_location",
    "blueprint",
    "blueprint_document",
    "blueprint_release",
    "branch_head",
    "build",
    "chain_head",
    "checkpoint",
    "checkpoint_blob",
    "checkpoint_kernel",
    "edge",
    "event",
    "index_generation",
    "kernel",
    "kernel_latency",
    "lease",
    "measurement",
    "pin",
    "quota",
    "relay",
    "report",
    "run",
    "security_event",
    "security_head",
    "security_window",
    "tenant",
    "tenant_member",
)
READERS = tuple(role for role in ROLES if role != "trainer")


def refused_with(connection, statement, parameters=()):
    with pytest.raises(psycopg.Error) as refused:
        connection.execute(statement, parameters)
    return refused.value.sqlstate


def test_every_table_with_a_tenant_is_under_row_level_security(registry_database):
    with psycopg.connect(registry_database) as owner:
        rows = owner.execute(
            """SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity FROM pg_class c
               JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant'
               WHERE c.relnamespace = 'morph'::regnamespace AND c.relkind = 'r' ORDER BY 1"""
        ).fetchall()
    assert rows == [(table, True, False) for table in TENANT_TABLES]


def test_no_login_is_owner_superuser_or_exempt_from_row_level_security(tenant, registry_database):
    for role in ROLES:
        tenant.url(role)
    with psycopg.connect(registry_database) as owner:
        rows = owner.execute(
            """SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb,
                      pg_has_role(oid, 'morph_owner', 'MEMBER')
               FROM pg_roles WHERE rolname LIKE %s""",
            (f"morph_{tenant.name}_%",),
        ).fetchall()
    assert len(rows) == len(ROLES)
    assert not any(power for _, *powers in rows for power in powers)


@pytest.mark.parametrize("role", READERS)
def test_the_rows_of_another_tenant_are_not_there(tenant, other_tenant, role):
    other_tenant.published()
    tenant.submitted()
    connection = tenant.connect(role)
    for table in TENANT_TABLES:
        seen = connection.execute(
            sql.SQL("SELECT DISTINCT tenant FROM morph.{}").format(sql.Identifier(table))
        ).fetchall()
        assert seen in ([], [(tenant.name,)])


def test_the_trainer_reads_no_table_at_all(tenant):
    connection = tenant.connect("trainer")
    for table in TENANT_TABLES:
        statement = sql.SQL("SELECT 1 FROM morph.{}").format(sql.Identifier(table))
        assert refused_with(connection, statement) == "42501"


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE morph.kernel SET state = 'PUBLISHED'",
        "INSERT INTO morph.kernel_latency SELECT * FROM morph.kernel_latency",
        "DELETE FROM morph.kernel",
        "UPDATE morph.quota SET hard_limit = 1000000000",
        "UPDATE morph.lease SET epoch = 0",
        "UPDATE morph.alias SET version = 1",
        "UPDATE morph.chain_head SET seq = 0",
        "INSERT INTO morph.event SELECT * FROM morph.event",
        "UPDATE morph.event SET actor = 'eve'",
        "DELETE FROM morph.event",
        "TRUNCATE morph.event",
        "INSERT INTO morph.tenant_member VALUES (session_user, 'default', 'admin')",
        "INSERT INTO morph.lifecycle VALUES ('kernel', 'REJECTED', 'PUBLISHED', NULL)",
        "UPDATE morph.branch_head SET row_version = 1",
        "SELECT morph.append_event('kernel.published', 'kernel/x', '{}')",
        "SELECT morph.append_event_for('default', 'kernel.published', 'kernel/x', '{}')",
        "SELECT morph.advance_kernel('x', 'PUBLISHED', '', 'kernel.published')",
        "SELECT morph.take_lease('run/x', gen_random_uuid(), 60)",
        "SELECT morph.hold_blobs('[]')",
        "SET ROLE morph_owner",
        "SET SESSION AUTHORIZATION morph_owner",
        "SET session_replication_role = replica",
        "ALTER TABLE morph.event DISABLE TRIGGER ALL",
        "CREATE TABLE morph.mine (x int)",
        "CREATE TABLE public.mine (x int)",
        "CREATE TEMP TABLE kernel (x int)",
        "CREATE FUNCTION pg_temp.current_tenant() RETURNS text LANGUAGE sql AS $$ SELECT 'default' $$",
    ],
)
def test_no_login_gets_around_the_functions(tenant, role, statement):
    assert refused_with(tenant.connect(role), statement) == "42501"


@pytest.mark.parametrize("setting", ["morph.tenant", "app.tenant", "role"])
def test_nothing_a_session_sets_changes_its_tenant(tenant, other_tenant, setting):
    other_tenant.published()
    connection = tenant.connect("platform")
    value = f"morph_{other_tenant.name}_platform" if setting == "role" else other_tenant.name
    if setting == "role":
        assert refused_with(connection, "SELECT set_config(%s, %s, false)", (setting, value)) == "42501"
    else:
        connection.execute("SELECT set_config(%s, %s, false)", (setting, value))
    assert connection.execute("SELECT morph.current_tenant()").fetchone() == (tenant.name,)
    assert connection.execute("SELECT count(*) FROM morph.kernel").fetchone() == (0,)


def test_the_functions_touch_no_kernel_of_another_tenant(tenant, other_tenant):
    kernel = other_tenant.published()
    for role, statement in (
        ("evaluator", "SELECT morph.start_evaluation(%s)"),
        ("publisher", "SELECT morph.publish_kernel(%s)"),
        ("publisher", "SELECT morph.revoke_kernel(%s, 'x')"),
        ("platform", "SELECT morph.quarantine_kernel(%s, 'x')"),
        ("curator", "SELECT morph.retire_kernel(%s, 'x')"),
    ):
        assert refused_with(tenant.connect(role), statement, (kernel.digest,)) == "MO006"
    assert [k.state for k in list_kernels(other_tenant.registry("controller"))] == ["PUBLISHED"]


def test_a_suspended_tenant_sees_nothing(tenant, registry_database):
    tenant.published()
    with psycopg.connect(registry_database) as owner:
        owner.execute("UPDATE morph.tenant SET state = 'suspended' WHERE tenant = %s", (tenant.name,))
    with pytest.raises(NotAMemberError):
        list_kernels(tenant.registry("platform"))


def test_a_wrong_password_does_not_get_in(tenant):
    url = tenant.url("platform")
    with pytest.raises(RegistryUnavailableError, match="password"):
        Registry.open(psycopg.conninfo.make_conninfo(url, password="guess"))


def test_the_time_limits_come_with_the_login(tenant):
    connection = tenant.connect("compiler")
    limits = [
        connection.execute("SELECT current_setting(%s)", (name,)).fetchone()[0]
        for name in ("idle_in_transaction_session_timeout", "lock_timeout", "statement_timeout")
    ]
    assert limits == ["2s", "1s", "5s"]


@pytest.mark.timed
def test_a_client_that_stops_in_a_transaction_holds_the_tenant_up_for_seconds_only(tenant):
    kernel = tenant.evaluated()
    with psycopg.connect(tenant.url("publisher")) as stopped:
        stopped.execute("SELECT morph.publish_kernel(%s)", (kernel.digest,))  # the chain head is locked now
        busy = tenant.connect("platform")
        assert refused_with(busy, "SELECT morph.quarantine_kernel(%s, 'x')", (kernel.digest,)) == "55P03"
        busy.execute("SET lock_timeout = '4s'")
        busy.execute("SELECT morph.quarantine_kernel(%s, 'x')", (kernel.digest,))
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            stopped.execute("SELECT 1")
    (found,) = list_kernels(tenant.registry("controller"))
    assert found.state == "QUARANTINED"


def test_a_lost_connection_is_opened_again(tenant, registry_database):
    registry = tenant.registry("platform")
    with registry.transaction() as connection:
        backend = connection.info.backend_pid
    with psycopg.connect(registry_database) as owner:
        owner.execute("SELECT pg_terminate_backend(%s, 2000)", (backend,))
    with pytest.raises(RegistryUnavailableError):
        list_kernels(registry)
    assert list_kernels(registry) == []
