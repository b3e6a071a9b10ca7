"""The guards hold also the owner of the tables, who needs no function: what is tried is in `owner_guards.py`."""

import psycopg
import pytest

from tests.support.owner_guards import OWNERS_STATEMENTS


def refusal(ground, statements):
    """Say the statements as the owner and commit; return the SQLSTATE that refused one of them or the commit."""
    with psycopg.connect(ground.tenant.admin_url, cursor_factory=psycopg.ClientCursor) as owner:
        owner.execute("SET ROLE morph_owner")
        try:
            touched = owner.execute(statements, ground.facts)
            # A statement that finds no row proves nothing.
            assert touched.rowcount >= 1
            owner.commit()
        except psycopg.Error as refused:
            return refused.sqlstate
    return None


@pytest.mark.parametrize("case", OWNERS_STATEMENTS, ids=lambda case: case.tried)
def test_not_even_the_owner_changes_what_is_governed(hostile_ground, case):
    before = hostile_ground.fingerprint()
    assert refusal(hostile_ground, case.statements) == case.code
    assert hostile_ground.fingerprint() == before


def test_not_even_the_owner_empties_a_table(hostile_ground):
    before = hostile_ground.fingerprint()
    tables = hostile_ground.superuser.execute(
        """SELECT c.oid::regclass::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
           WHERE a.attname = 'tenant' AND c.relnamespace = 'morph'::regnamespace AND c.relkind = 'r'"""
    ).fetchall()
    for (table,) in tables:
        with psycopg.connect(hostile_ground.tenant.admin_url) as owner:
            owner.execute("SET ROLE morph_owner")
            with pytest.raises(psycopg.Error) as refused:
                owner.execute(f"TRUNCATE {table} CASCADE")
        assert (table, refused.value.sqlstate) == (table, "MO009")
    assert hostile_ground.fingerprint() == before
