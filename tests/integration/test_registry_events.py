"""The event chain: nothing governed changes without it, nobody edits it, and an edit is found."""

import threading
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from morph_assets.registry.aliases import move_alias
from morph_assets.registry.artifacts import tell_artifact
from morph_assets.registry.audit.chain import verify_chain
from morph_assets.registry.connection import Registry
from morph_assets.registry.events import (
    EventCursor,
    chain_head,
    events_after,
    latest_cursor,
    latest_seq,
)
from morph_assets.registry.kernels import quarantine_kernel
from morph_kernels.canonical import canonical_bytes


@pytest.fixture
def history(tenant):
    """A tenant to which some things have happened."""
    tenant.published("k1", blueprint="one")
    tenant.published("k2", blueprint="two")
    move_alias(tenant.registry("publisher"), "ffn_gelu", "production", 1, expected_row_version=None)
    return tenant


@pytest.fixture
def tamper(registry_database):
    """Change rows as the superuser with every trigger off."""

    def change(statement, parameters):
        with psycopg.connect(registry_database) as superuser:
            superuser.execute("SET session_replication_role = replica")
            return superuser.execute(statement, parameters).rowcount

    return change


def test_sequences_are_dense_and_payloads_canonical(history):
    events = events_after(history.registry("auditor"), 0)
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert all(canonical_bytes(event.facts) == event.payload for event in events)
    assert latest_seq(history.registry("auditor")) == len(events)
    assert latest_cursor(history.registry("auditor")) == EventCursor(1, len(events))


def test_the_actor_is_the_login(history):
    actors = {event.type: event.actor for event in events_after(history.registry("auditor"), 0)}
    assert actors["kernel.compiled"] == f"morph_{history.name}_compiler"
    assert actors["kernel.validated"] == f"morph_{history.name}_evaluator"
    assert actors["alias.moved"] == f"morph_{history.name}_publisher"


def test_a_cursor_and_types_narrow_what_is_read(history):
    auditor = history.registry("auditor")
    published = events_after(auditor, 0, types=["kernel.published"])
    assert [event.type for event in published] == ["kernel.published"] * 2
    assert [e.seq for e in events_after(auditor, published[0].seq, types=["kernel.published"])] == [published[1].seq]
    assert [event.seq for event in events_after(auditor, 3, limit=2)] == [4, 5]


def test_an_untouched_chain_holds_from_the_start_and_from_an_anchor(history):
    auditor = history.registry("auditor")
    anchor = chain_head(auditor)
    assert verify_chain(auditor) is None
    quarantine_kernel(history.registry("platform"), history.built("k1", blueprint="one").digest, reason="x")
    assert verify_chain(auditor, after=anchor) is None


def test_a_log_is_read_without_a_transaction_that_a_slow_reader_would_hold(history):
    kernel, platform = history.built("k1", blueprint="one").digest, history.registry("platform")
    for _ in range(200):
        tell_artifact(platform, kernel, "artifact.repaired", tier="disk", reason="x", action="none")
    impatient = make_conninfo(history.url("auditor"), options="-c idle_in_transaction_session_timeout=1")
    with Registry.open(impatient) as auditor:
        assert verify_chain(auditor) is None


def test_a_new_tenant_has_a_chain_that_holds(tenant):
    assert verify_chain(tenant.registry("auditor")) is None


@pytest.mark.parametrize(
    ("statement", "first_bad"),
    [
        ("UPDATE morph.event SET payload = '{}' WHERE tenant = %s AND seq = 4", 4),
        ("UPDATE morph.event SET actor = 'eve' WHERE tenant = %s AND seq = 5", 5),
        ("UPDATE morph.event SET type = 'kernel.rejected' WHERE tenant = %s AND seq = 5", 5),
        ("UPDATE morph.event SET subject = 'kernel/x' WHERE tenant = %s AND seq = 2", 2),
        ("UPDATE morph.event SET recorded_at = recorded_at - interval '1 us' WHERE tenant = %s AND seq = 3", 3),
        ("UPDATE morph.event SET event_id = gen_random_uuid() WHERE tenant = %s AND seq = 3", 3),
        ("UPDATE morph.event SET hash = sha256('x') WHERE tenant = %s AND seq = 6", 6),
        ("UPDATE morph.event e SET actor = 'eve', hash = morph.event_hash(e) WHERE tenant = %s AND seq = 6", 6),
        ("DELETE FROM morph.event WHERE tenant = %s AND seq = 1", 1),
        ("DELETE FROM morph.event WHERE tenant = %s AND seq = 7", 7),
        ("DELETE FROM morph.event WHERE tenant = %s AND seq >= 8", 8),
        ("UPDATE morph.event SET seq = CASE seq WHEN 4 THEN 104 ELSE 4 END WHERE tenant = %s AND seq IN (4, 5)", 4),
    ],
)
def test_tampering_is_found_at_its_first_place(history, tamper, statement, first_bad):
    assert tamper(statement, (history.name,)) >= 1
    assert verify_chain(history.registry("auditor")) == first_bad


def test_a_rehashed_event_breaks_the_one_behind_it(history, tamper):
    tamper("UPDATE morph.event SET payload = '{}' WHERE tenant = %s AND seq = 4", (history.name,))
    tamper("UPDATE morph.event e SET hash = morph.event_hash(e) WHERE tenant = %s AND seq = 4", (history.name,))
    assert verify_chain(history.registry("auditor")) == 5


def test_a_tail_cut_off_together_with_the_head_is_found_from_an_anchor(history, tamper):
    auditor = history.registry("auditor")
    anchor = chain_head(auditor)
    tamper("DELETE FROM morph.event WHERE tenant = %s AND seq > 8", (history.name,))
    tamper(
        """UPDATE morph.chain_head h SET seq = 8, hash = e.hash FROM morph.event e
           WHERE h.tenant = %s AND e.tenant = h.tenant AND e.seq = 8""",
        (history.name,),
    )
    assert verify_chain(auditor) is None
    assert verify_chain(auditor, after=anchor) is not None


def test_an_event_of_an_earlier_transaction_does_not_cover_a_later_change(history, registry_database):
    kernel = history.built("k1", blueprint="one")
    change = "UPDATE morph.kernel SET latency_us = 1 WHERE tenant = %s AND digest = %s"
    tell = "SELECT morph.append_event_for(%s, 'kernel.corrected', %s, '{}')"
    with psycopg.connect(registry_database) as owner:
        owner.execute(change, (history.name, kernel.digest))
        owner.execute(tell, (history.name, f"kernel/{kernel.digest}"))
        owner.commit()
        owner.execute(change, (history.name, kernel.digest))
        with pytest.raises(psycopg.Error) as refused:
            owner.commit()
    assert refused.value.sqlstate == "MO007"


def test_a_transaction_that_is_rolled_back_leaves_no_event(history):
    kernel = history.built("k1", blueprint="one")
    before = latest_seq(history.registry("auditor"))

    def change_and_fail():
        with history.registry("platform").transaction():
            quarantine_kernel(history.registry("platform"), kernel.digest, reason="x")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        change_and_fail()
    assert latest_seq(history.registry("auditor")) == before
    assert verify_chain(history.registry("auditor")) is None


@pytest.mark.parametrize("reason", ["repeat(chr(1), 5000000)", "repeat('x', 5000000)"])
def test_an_event_is_written_before_the_head_is_held(tenant, reason):
    kernel = tenant.built()
    platform = tenant.connect("platform")
    with tenant.registry("curator").transaction() as holding:
        holding.execute("SELECT morph.pin(%s, 'paper', NULL)", ("release/ffn_gelu@1",))
        # Judged before it would have to wait for the head.
        with pytest.raises(psycopg.errors.CheckViolation):
            platform.execute(
                f"SELECT morph.tell_artifact(%s, 'artifact.damaged', 'disk', {reason}, 'x')", (kernel.digest,)
            )


def test_a_reader_polling_while_eight_write_misses_nothing(tenant):
    tenant.submitted()
    url, done, seen = tenant.url("trainer"), threading.Event(), []
    auditor = tenant.registry("auditor")

    def write(number):
        with Registry.open(url) as registry:
            for run in range(10):
                registry.call("SELECT morph.open_run(%s, %s, 60)", (f"run-{number}-{run}", uuid4()))

    def poll():
        while True:
            last_round = done.is_set()
            page = events_after(auditor, seen[-1] if seen else 0, limit=7)
            seen.extend(event.seq for event in page)
            if last_round and not page:
                return

    reader = threading.Thread(target=poll)
    reader.start()
    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert seen == list(range(1, latest_seq(auditor) + 1))
    assert len(seen) == 80 + 4  # the tenant, its two further logins, the blueprint
    assert verify_chain(auditor) is None
