"""What the log tells is what the tables hold; what it does not tell is found."""

import psycopg
import pytest

from morph_assets.registry.errors import RegistryError
from morph_assets.registry.replay.check import check_replay, iter_log
from morph_assets.registry.replay.state import ReplayedState, fold


def test_the_log_amounts_to_the_tables(lived):
    checked = check_replay(lived.registry("auditor"))

    assert checked.differences == ()
    assert checked.seq > 30
    assert checked.rows > 60


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE morph.kernel SET state_reason = 'x' WHERE state = 'REJECTED'", "kernel"),
        ("UPDATE morph.kernel SET latency_us = 1", "kernel"),
        ("UPDATE morph.kernel SET tags = '{}'", "kernel"),
        ("DELETE FROM morph.kernel_latency", "kernel_latency"),
        ("UPDATE morph.alias SET version = 2", "alias"),
        ("UPDATE morph.checkpoint SET step = 7", "checkpoint"),
        ("UPDATE morph.blueprint_release SET author = 'eve'", "blueprint_release"),
        ("UPDATE morph.measurement SET value = value * 2", "measurement"),
        ("UPDATE morph.build SET cpu_s = 0", "build"),
        ("UPDATE morph.edge SET until_seq = since_seq + 1", "edge"),
        ("INSERT INTO morph.run (tenant, run) SELECT tenant, 'forged' FROM morph.tenant", "run"),
    ],
)
def test_a_row_that_the_log_does_not_tell_of_is_found(lived, change, table):
    with psycopg.connect(lived.admin_url) as superuser:
        superuser.execute("SET session_replication_role = replica")
        superuser.execute(change)
        superuser.commit()
        found = check_replay(lived.registry("auditor")).differences
        superuser.execute("SET session_replication_role = origin")

    assert {difference.table for difference in found} == {table}


def test_a_log_with_a_gap_is_not_repeated(lived):
    events = list(iter_log(lived.registry("auditor")))
    with pytest.raises(RegistryError, match=r"event 5 of .* is missing"):
        fold(ReplayedState(lived.name), events[:4] + events[5:])


def test_an_event_of_a_newer_version_is_not_skipped(lived):
    with psycopg.connect(lived.admin_url) as superuser:
        superuser.execute("SELECT morph.append_event_for(%s, 'future.happened', 'x/1', '{}')", (lived.name,))
    with pytest.raises(RegistryError, match=r"future\.happened: unknown to this version"):
        check_replay(lived.registry("auditor"))
