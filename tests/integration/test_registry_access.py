"""What each login may not do, tried over raw connections: nothing stands between it and the database."""

import time

import psycopg
import pytest
from psycopg import sql

from morph_assets.registry.audit.chain import verify_chain
from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import NotAMemberError, RegistryBusyError, RegistryUnavailableError
from morph_assets.registry.kernels import list_kernels, quarantine_kernel
from morph_assets.registry.migrate import ROLES
from tests.support.legal_calls import call

TENANT_TABLES = (
    "alias",
    "alias_history",
    "approval",
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
    "checkpoint_tag",
    "doomed_object",
    "edge",
    "event",
    "inbox",
    "index_generation",
    "kernel",
    "kernel_import",
    "kernel_latency",
    "lease",
    "measurement",
    "metering",
    "pin",
    "quota",
    "relay",
    "report",
    "retention_policy",
    "run",
    "security_event",
    "security_head",
    "security_window",
    "tenant",
    "tenant_member",
    "tombstone",
    "usage_entry",
)
READERS = tuple(role for role in ROLES if role != "trainer")
RELEASE_OF_ANOTHER = "SELECT morph.release_lease('build/held', %(other_holder)s, %(other_epoch)s)"


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


# What each login asks for in the other tenant's name, and all that it may be told.
ANSWERS = (
    ("kernels by name", READERS, "SELECT count(*) FROM morph.kernel WHERE tenant = %(other_tenant)s", [(0,)]),
    ("events by name", READERS, "SELECT count(*) FROM morph.event WHERE tenant = %(other_tenant)s", [(0,)]),
    (
        "a row, by an error that only it would raise",
        READERS,
        "SELECT count(*) FROM morph.kernel WHERE 1 / (CASE WHEN tenant = %(other_tenant)s THEN 0 ELSE 1 END) = 0",
        [(0,)],
    ),
    (
        "rows, prepared before a change of role",
        READERS,
        "SELECT count(*) FROM morph.kernel k JOIN morph.event e USING (tenant) WHERE k.digest = %(other_published)s",
        [(0,)],
    ),
    (
        "values in the planner's samples",
        READERS,
        """SELECT count(*) FROM pg_stats s JOIN pg_attribute a
               ON a.attrelid = format('morph.%%I', s.tablename)::regclass
           WHERE s.schemaname = 'morph' AND a.attname = 'tenant'""",
        [(0,)],
    ),
    (
        "what the other's sessions say",
        ROLES,
        """SELECT count(*) FROM pg_stat_activity WHERE usename LIKE format('morph_%%s_%%%%', %(other_tenant)s::text)
           AND query <> '<insufficient privilege>'""",
        [(0,)],
    ),
    ("its blobs", ("trainer", "platform"), "SELECT * FROM morph.live_blobs(ARRAY[%(other_blob)s])", []),
    ("its checkpoint's blobs", ("trainer", "admin"), "SELECT * FROM morph.checkpoint_blobs(%(other_checkpoint)s)", []),
    (
        "its checkpoints, by a run of the same name",
        ROLES,
        "SELECT checkpoint IN (%(checkpoint)s, %(earlier)s) FROM morph.find_checkpoints('run', NULL, 100)",
        [(True,), (True,)],
    ),
    (
        "its checkpoint, by id",
        ROLES,
        "SELECT * FROM morph.resolve_checkpoint('run', 'main', %(other_checkpoint)s, NULL, NULL, NULL, NULL, NULL)",
        [],
    ),
    (
        "its tag, by a run of the same name",
        ROLES,
        """SELECT checkpoint = %(earlier)s
           FROM morph.resolve_checkpoint('run', 'main', NULL, 'good', NULL, NULL, NULL, NULL)""",
        [(True,)],
    ),
    (
        "its lineage",
        READERS,
        "SELECT * FROM morph.trace_lineage('kernel/' || %(other_needed)s, false, NULL, 9, 100)",
        [],
    ),
    ("its lease given back", ("compiler", "platform"), RELEASE_OF_ANOTHER, [(False,)]),
    ("its tenant", ROLES, "SELECT morph.current_tenant() = %(tenant)s", [(True,)]),
)


@pytest.mark.parametrize(("_", "roles", "query", "expected"), ANSWERS, ids=[answer[0] for answer in ANSWERS])
def test_another_tenant_is_not_there_for_whoever_asks(hostile_ground, _, roles, query, expected):  # a title
    hostile_ground.superuser.execute("ANALYZE")
    assert {role: hostile_ground.answer(role, query) for role in roles} == dict.fromkeys(roles, expected)


def test_a_group_role_and_settings_change_neither_tenant_nor_rows(hostile_ground):
    other = hostile_ground.other.name
    for role in READERS:
        hostile_ground.say(role, "PREPARE mine AS SELECT DISTINCT tenant FROM morph.event")
        for said in (f"SET ROLE morph_{role}", f"SET morph.tenant = '{other}'", "SET search_path = pg_temp, morph"):
            hostile_ground.say(role, said)
            assert hostile_ground.answer(role, "EXECUTE mine") == [(hostile_ground.tenant.name,)]
        hostile_ground.say(role, "DISCARD ALL")


def test_the_actor_and_the_time_are_the_sessions_whatever_a_session_says(hostile_ground):
    forged = (
        "SET ROLE morph_platform",
        "SET application_name = 'eve'",
        "SET TimeZone = 'Pacific/Kiritimati'",
        "SET DateStyle = 'SQL, DMY'",
        "SET morph.actor = 'eve'",
        "SET morph.claimed_actor = 'eve'",
        "SET morph.claimed_at = '1'",
        "SET intervalstyle = 'iso_8601'",
    )
    for said in forged:
        hostile_ground.say("platform", said)
    hostile_ground.say("platform", call("tell_artifact"))
    hostile_ground.say("platform", "DISCARD ALL")
    told = hostile_ground.superuser.execute(
        """SELECT actor, claimed_actor, clock_timestamp() - recorded_at < interval '1 minute' FROM morph.event
           WHERE tenant = %s ORDER BY seq DESC LIMIT 1""",
        (hostile_ground.tenant.name,),
    ).fetchone()
    assert told == (f"morph_{hostile_ground.tenant.name}_platform", "eve", True)
    assert verify_chain(hostile_ground.tenant.registry("auditor")) is None


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


def dawdle(registry, kernel, until):
    """Hold the chain's head without being idle for long, and without a statement that takes long."""
    with registry.transaction() as connection:
        connection.execute("SELECT morph.pin(%s, 'paper', NULL)", (f"kernel/{kernel.digest}",))
        while time.monotonic() < until:
            connection.execute("SELECT pg_sleep(0.2)")


@pytest.mark.timed
def test_a_client_that_dawdles_in_a_transaction_holds_the_tenant_up_for_seconds_only(tenant):
    kernel, began = tenant.built(), time.monotonic()
    with pytest.raises(RegistryBusyError):
        dawdle(tenant.registry("curator"), kernel, until=began + 30)
    assert time.monotonic() < began + 15
    quarantine_kernel(tenant.registry("platform"), kernel.digest, reason="free again")


def test_a_lost_connection_is_opened_again(tenant, registry_database):
    registry = tenant.registry("platform")
    with registry.transaction() as connection:
        backend = connection.info.backend_pid
    with psycopg.connect(registry_database) as owner:
        owner.execute("SELECT pg_terminate_backend(%s, 2000)", (backend,))
    with pytest.raises(RegistryUnavailableError):
        list_kernels(registry)
    assert list_kernels(registry) == []
