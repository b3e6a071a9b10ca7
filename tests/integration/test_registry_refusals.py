"""Every illegal thing is refused by the database itself, over a raw connection, as each of the nine logins.

The catalogues are in `tests/support`: `legal_calls` (who may call what), `refused_calls` and `refused_runs` (calls that
are wrong in one thing), `refused_sessions` (ways around the functions).
"""

import psycopg
import pytest

from morph_assets.registry.connection import Registry
from morph_assets.registry.migrate import ROLES
from morph_assets.registry.replay.check import iter_log
from morph_assets.registry.replay.state import ReplayedState, fold
from morph_assets.registry.replay.tables import iter_differences
from tests.support.legal_calls import LEGAL_CALLS, blob, call
from tests.support.refused_calls import REFUSED_CALLS
from tests.support.refused_runs import REFUSED_RUNS
from tests.support.refused_sessions import IDLE_STATEMENTS, REFUSED_STATEMENTS

NO_PRIVILEGE = "42501"
EVERY_REFUSED_CALL = (*REFUSED_CALLS, *REFUSED_RUNS)


@pytest.fixture
def untouched(hostile_ground):
    """The print of everything before the attempts."""
    return hostile_ground.fingerprint()


@pytest.mark.parametrize("function", LEGAL_CALLS)
def test_a_right_call_succeeds_for_its_roles_and_for_nobody_else(hostile_ground, untouched, function):
    outcomes = {role: hostile_ground.attempt(role, f"BEGIN; {call(function)}") for role in ROLES}
    allowed = LEGAL_CALLS[function].roles
    assert outcomes == {role: None if role in allowed else NO_PRIVILEGE for role in ROLES}
    assert hostile_ground.fingerprint() == untouched


@pytest.mark.parametrize("case", EVERY_REFUSED_CALL, ids=lambda case: case.tried)
def test_a_wrong_call_is_refused_and_changes_nothing(hostile_ground, untouched, case):
    outcomes = {role: hostile_ground.attempt(role, case.statement) for role in ROLES}
    allowed = LEGAL_CALLS[case.function].roles
    assert outcomes == {role: case.code if role in allowed else NO_PRIVILEGE for role in ROLES}
    assert hostile_ground.fingerprint() == untouched


@pytest.mark.parametrize("case", REFUSED_STATEMENTS, ids=lambda case: case.tried)
def test_no_login_gets_around_the_functions(hostile_ground, untouched, case):
    statements = case.statements.replace("{other}", hostile_ground.other.name)
    outcomes = {role: hostile_ground.attempt(role, statements) for role in ROLES}
    assert outcomes == dict.fromkeys(ROLES, case.code)
    assert hostile_ground.fingerprint() == untouched


@pytest.mark.parametrize("case", IDLE_STATEMENTS, ids=lambda case: case.tried)
def test_what_the_server_lets_a_login_say_has_no_effect(hostile_ground, untouched, case):
    statements = case.statements.replace("{other}", hostile_ground.other.name)
    for role in ROLES:
        hostile_ground.attempt(role, statements)
    assert hostile_ground.fingerprint() == untouched


NULLED = [(function, name) for function, legal in LEGAL_CALLS.items() for name in legal.arguments]


def differences(ground, connection):
    """Return where tables and log differ, within the connection's transaction."""
    connection.execute(f"SET SESSION AUTHORIZATION morph_{ground.tenant.name}_auditor")
    registry = Registry("")
    registry._connection = connection
    state = fold(ReplayedState(ground.tenant.name), iter_log(registry))
    found = [str(difference) for difference in iter_differences(connection, state)]
    connection.execute("RESET SESSION AUTHORIZATION")
    return found


@pytest.mark.parametrize(("function", "name"), NULLED, ids=["-".join(each) for each in NULLED])
def test_a_null_is_refused_or_told_so_that_the_log_can_be_repeated(hostile_ground, function, name):
    role = min(LEGAL_CALLS[function].roles)
    with psycopg.connect(hostile_ground.tenant.admin_url, cursor_factory=psycopg.ClientCursor) as connection:
        before = differences(hostile_ground, connection)
        connection.execute(f"SET SESSION AUTHORIZATION morph_{hostile_ground.tenant.name}_{role}")
        refusal = None
        try:
            connection.execute(call(function, **{name: "NULL"}), hostile_ground.facts)
            connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except psycopg.Error as refused:
            refusal = refused.sqlstate
        if refusal is None:
            assert differences(hostile_ground, connection) == before
        else:
            assert refusal[:2] in {"22", "23", "42", "MO"}
        connection.rollback()


WRITTEN = (
    "INSERT INTO {} DEFAULT VALUES",
    "UPDATE {} SET {} = NULL",
    "DELETE FROM {}",
    "TRUNCATE {} CASCADE",
    "COPY {} FROM STDIN",
    "SELECT 1 FROM {} FOR UPDATE",
    "BEGIN; LOCK TABLE {} IN SHARE MODE",
    "ALTER TABLE {} DISABLE TRIGGER ALL",
    "DROP TABLE {} CASCADE",
)


@pytest.mark.parametrize("role", ROLES)
def test_no_login_writes_or_locks_any_table(hostile_ground, untouched, role):
    tables = hostile_ground.superuser.execute(
        """SELECT 'morph.' || c.relname, min(a.attname::text) FROM pg_class c
           JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND a.attgenerated = '' AND NOT a.attisdropped
           WHERE c.relnamespace = 'morph'::regnamespace AND c.relkind = 'r' GROUP BY 1"""
    ).fetchall()
    statements = [written.format(table, column) for table, column in tables for written in WRITTEN]
    outcomes = {statement: hostile_ground.attempt(role, statement) for statement in statements}
    assert len(tables) > 30
    assert {statement: code for statement, code in outcomes.items() if code != NO_PRIVILEGE} == {}
    assert hostile_ground.fingerprint() == untouched


def test_no_login_may_call_more_than_these_functions(hostile_ground):
    callable_ones = hostile_ground.superuser.execute(
        """SELECT p.proname::text, array_agg(role ORDER BY role)
           FROM pg_proc p CROSS JOIN unnest(%s::text[]) role
           WHERE p.pronamespace = 'morph'::regnamespace
             AND has_function_privilege(format('morph_%%s_%%s', %s::text, role), p.oid, 'EXECUTE')
           GROUP BY p.proname""",
        (list(ROLES), hostile_ground.tenant.name),
    ).fetchall()
    assert dict(callable_ones) == {function: sorted(legal.roles) for function, legal in LEGAL_CALLS.items()}


@pytest.mark.parametrize("function", ["renew_lease", "release_lease", "fence"])
def test_a_lease_of_a_run_is_its_trainers_also_for_who_knows_holder_and_epoch(hostile_ground, untouched, function):
    known = call(function, p_name="'run/run'", p_holder="%(writer)s", p_epoch="%(run_epoch)s")
    outcomes = {role: hostile_ground.attempt(role, f"BEGIN; {known}") for role in ROLES}
    assert outcomes == dict.fromkeys(ROLES, NO_PRIVILEGE) | {"trainer": None}
    assert hostile_ground.fingerprint() == untouched


@pytest.fixture
def exhausted(hostile_ground):
    """The ground with every quota used up to the last unit."""
    limits = "SELECT resource, hard_limit FROM morph.quota WHERE tenant = %s"
    before = hostile_ground.superuser.execute(limits, (hostile_ground.tenant.name,)).fetchall()
    change = "UPDATE morph.quota SET hard_limit = %s WHERE tenant = %s AND resource = %s"
    hostile_ground.superuser.execute("SET session_replication_role = replica")
    hostile_ground.superuser.execute(
        "UPDATE morph.quota SET hard_limit = used WHERE tenant = %s", (hostile_ground.tenant.name,)
    )
    yield hostile_ground
    for resource, limit in before:
        hostile_ground.superuser.execute(change, (limit, hostile_ground.tenant.name, resource))
    hostile_ground.superuser.execute("SET session_replication_role = origin")


@pytest.mark.parametrize(
    ("function", "changed"),
    [
        ("submit_blueprint", {}),
        ("record_build", {}),
        ("record_build", {"p_bundle_digest": "%(bundle)s", "p_bundle_bytes": "220000"}),
        ("commit_checkpoint", {}),
        ("commit_checkpoint", {"p_blobs": blob("%(unknown)s", size="1")}),
    ],
    ids=["blueprints", "kernels and bytes", "kernels", "checkpoints", "checkpoints and bytes"],
)
def test_nothing_goes_past_a_quota_by_one(exhausted, function, changed):
    before = exhausted.fingerprint()
    outcomes = {role: exhausted.attempt(role, call(function, **changed)) for role in ROLES}
    allowed = LEGAL_CALLS[function].roles
    assert outcomes == {role: "MO008" if role in allowed else NO_PRIVILEGE for role in ROLES}
    assert exhausted.fingerprint() == before
