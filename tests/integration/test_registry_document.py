"""What docs/registry.md says of tables, rights and transitions is what the database holds."""

import re
from pathlib import Path

import psycopg

from morph_assets.registry.kernel_state import KernelState

TEXT = (Path(__file__).parents[2] / "docs" / "registry.md").read_text(encoding="utf-8")


def rows_below(heading):
    """The cells of the table in a section, without its head."""
    section = TEXT.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def words(cell):
    return set(re.findall(r"`([a-z_]+)`", cell))


def test_every_table_stands_in_it(registry_database):
    told = set().union(*(words(cells[1]) for cells in rows_below("What is where")))
    with psycopg.connect(registry_database) as owner:
        found = owner.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'morph'::regnamespace AND relkind = 'r'"
        ).fetchall()
    assert told == {name for (name,) in found}


def test_every_right_to_call_a_function_stands_in_it(registry_database):
    told = {
        (name, role) for cells in rows_below("Who may what") for name in words(cells[0]) for role in words(cells[1])
    }
    with psycopg.connect(registry_database) as owner:
        found = owner.execute(
            """SELECT p.proname, substr(r.rolname, 7) FROM pg_proc p
               CROSS JOIN LATERAL aclexplode(p.proacl) a JOIN pg_roles r ON r.oid = a.grantee
               WHERE p.pronamespace = 'morph'::regnamespace AND r.rolname <> 'morph_owner'"""
        ).fetchall()
    assert told == set(found)


def test_every_transition_of_a_kernel_stands_in_it(registry_database):
    told = {(*cells[:2], cells[2]) for cells in rows_below("The life of a kernel")}
    with psycopg.connect(registry_database) as owner:
        found = owner.execute(
            "SELECT from_state, to_state, coalesce(guard, '') FROM morph.lifecycle WHERE kind = 'kernel'"
        ).fetchall()
    assert told == set(found)


def test_the_states_that_commands_take_are_those_of_the_database(registry_database):
    with psycopg.connect(registry_database) as owner:
        found = owner.execute(
            "SELECT DISTINCT unnest(ARRAY[from_state, to_state]) FROM morph.lifecycle WHERE kind = 'kernel'"
        ).fetchall()
    assert {state for (state,) in found} - {"*"} == set(KernelState)
