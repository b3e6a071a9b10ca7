"""A lost registry, written anew from its log and the bodies that the log names."""

import psycopg
import pytest
from psycopg import sql

from morph_assets.registry.audit.bodies import named_bodies, read_bodies
from morph_assets.registry.audit.chain import read_rows, verify_chain
from morph_assets.registry.audit.row import record_of
from morph_assets.registry.errors import RegistryError
from morph_assets.registry.events import LOG, chain_head
from morph_assets.registry.migrate import ROLES, migrate
from morph_assets.registry.rebuild import NotEmptyError, Rebuild
from morph_assets.registry.replay.check import check_replay, iter_log
from morph_assets.registry.replay.tables import REPLAYED_TABLES
from morph_assets.registry.tenants import create_tenant
from morph_kernels.canonical import sha256_hex
from tests.support.registry import TestTenant


@pytest.fixture
def empty_database(fresh_database):
    """Another migrated database, in which nothing happened yet."""
    migrate(fresh_database)
    return fresh_database


@pytest.fixture
def reborn(lived, empty_database):
    """The tenant's name in the empty database, with its first event only."""
    # Logins belong to the whole server: the two databases share them.
    passwords = dict.fromkeys(ROLES, "shared")
    create_tenant(lived.admin_url, lived.name, passwords)
    create_tenant(empty_database, lived.name, passwords)
    lived.close()
    lived.passwords = passwords
    made = TestTenant(empty_database, lived.name, passwords)
    yield made
    made.close()


def kept(tenant):
    """The log and the bodies that it names."""
    auditor = tenant.registry("auditor")
    rows = read_rows(auditor, LOG, after=0, up_to=chain_head(auditor).seq, limit=10_000)
    bodies = read_bodies(auditor, named_bodies(rows))
    # What was purged is in no row any more, and no row is made of it.
    return [record_of(row) for row in rows], {sha256_hex(data): data for _, data in bodies if data is not None}


def rebuild(tenant, log, bodies):
    with psycopg.connect(tenant.admin_url) as owner:
        owner.execute("SET LOCAL ROLE morph_owner")
        rebuilding = Rebuild(owner, tenant.name, bodies.__getitem__)
        rebuilding.begin(log)
        rebuilding.append("run.opened", "run/later", {"run": "later", "holder": "x", "lease_epoch": 1})
        return rebuilding.finish()


def rows(tenant, table, *, leaving_out):
    with psycopg.connect(tenant.admin_url) as owner:
        columns = owner.execute(
            """SELECT column_name FROM information_schema.columns
               WHERE table_schema = 'morph' AND table_name = %s AND column_name <> ALL (%s) ORDER BY 1""",
            (table, list(leaving_out)),
        ).fetchall()
        read = sql.SQL(", ").join(sql.Identifier(column) for (column,) in columns)
        query = sql.SQL("SELECT {} FROM morph.{} WHERE tenant = %s").format(read, sql.Identifier(table))
        return sorted(owner.execute(query, (tenant.name,)).fetchall(), key=repr)


def test_every_table_holds_what_it_held(lived, reborn):
    rebuilt = rebuild(reborn, *kept(lived))

    assert rebuilt.rows > 60
    assert verify_chain(reborn.registry("auditor")) is None
    assert check_replay(reborn.registry("auditor")).differences == ()
    for table, spec in REPLAYED_TABLES.items():
        moments = {*spec.born, *spec.changed}
        before, after = (rows(of, table, leaving_out=moments) for of in (lived, reborn))
        assert [row for row in after if row not in before] == ([("later", reborn.name)] if table == "run" else [])
        assert [row for row in before if row not in after] == []


def test_what_is_used_of_a_quota_is_counted_anew(lived, reborn):
    rebuild(reborn, *kept(lived))
    leaving_out = {"row_version", "hard_limit"}
    assert rows(reborn, "quota", leaving_out=leaving_out) == rows(lived, "quota", leaving_out=leaving_out)


def test_life_goes_on_afterwards_and_the_triggers_guard_it(lived, reborn):
    rebuild(reborn, *kept(lived))
    reborn.published("another", blueprint="another")
    with (
        psycopg.connect(reborn.admin_url) as owner,
        pytest.raises(psycopg.Error, match="without its event"),
        owner.transaction(),
    ):
        owner.execute("UPDATE morph.kernel SET latency_us = 1 WHERE tenant = %s", (reborn.name,))
    assert check_replay(reborn.registry("auditor")).differences == ()


def test_a_registry_with_a_history_is_not_touched(lived, reborn):
    log, bodies = kept(lived)
    reborn.submitted("own")
    with pytest.raises(NotEmptyError):
        rebuild(reborn, log, bodies)
    assert check_replay(reborn.registry("auditor")).differences == ()


@pytest.mark.parametrize("lost", ["body", "event"])
def test_what_is_not_whole_leaves_everything_as_it_was(lived, reborn, lost):
    log, bodies = kept(lived)
    if lost == "body":
        bodies.popitem()
    else:
        del log[7]
    with pytest.raises((RegistryError, KeyError)):
        rebuild(reborn, log, bodies)
    assert [event.type for event in iter_log(reborn.registry("auditor"))] == ["tenant.created"]
