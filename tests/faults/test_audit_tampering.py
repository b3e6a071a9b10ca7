"""Every way to tamper with the log that we know of, each found at its first place and called by its name."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from morph_assets.registry.audit.finding import Tampering
from morph_assets.registry.events import LOG, SECURITY, ChainHead, chain_head
from morph_assets.usecases.verify_audit import verify_audit
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import BlobDigest
from morph_kernels.store.keys import blob_key
from tests.support.platform import open_test_platform
from tests.support.registry import TestTenant
from tests.support.tampering import Tampered, make_history
from tests.support.tampering_cases import CASES, named_events, rewrite, set_column

K = Tampering


@pytest.fixture(scope="module")
def history(registry_database, running_services, compiled, kernel_cache) -> Iterator[Tampered]:
    """A log of some length, once for all tests."""
    tenant = TestTenant(registry_database, f"t{uuid4().hex[:12]}")
    with open_test_platform(tenant, running_services, compiled, kernel_cache) as made:
        log = make_history(made, tenant, registry_database)
        log.keep()
        yield log
    tenant.close()


@pytest.fixture
def log(history) -> Iterator[Tampered]:
    """The log as nobody has touched it."""
    yield history
    history.bring_back()


def test_what_nobody_touched_holds(log):
    verified = verify_audit(log.connections)

    assert verified.findings == ()
    assert (verified.events, verified.security_events, verified.anchors) == (log.head, 3, 2)
    assert (verified.anchored_seq, verified.archived_seq) == (log.second_anchor, log.archived)
    assert verified.unanchored.events == log.head - log.second_anchor
    assert verified.bodies >= 8


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_a_tampering_is_found_at_its_first_place_and_called_by_its_name(log, case):
    position = case.position(log)

    case.tamper(log)

    first = verify_audit(log.connections).first
    assert first is not None
    assert (first.place, first.position, first.kind) == (case.place, position, case.kind), first.detail


def test_what_nothing_outside_knows_yet_is_found_by_the_head_that_somebody_remembers(log):
    remembered = chain_head(log.connections.registry("auditor"), LOG)
    log.cut(log.head - 1)

    assert verify_audit(log.connections).holds
    first = verify_audit(log.connections, expected=remembered).first
    assert (first.position, first.kind) == (log.head - 1, K.TRUNCATED)


def test_an_end_rewritten_before_anything_outside_knew_it_contradicts_the_head_that_somebody_remembers(log):
    remembered = chain_head(log.connections.registry("auditor"), LOG)
    rewrite(lambda log: log.archived + 1)(log)

    assert verify_audit(log.connections).holds
    first = verify_audit(log.connections, expected=remembered).first
    assert (first.position, first.kind) == (log.second_anchor + 1, K.REWRITTEN)


def test_a_remembered_head_that_the_log_contains_is_fine(log):
    remembered = chain_head(log.connections.registry("auditor"), LOG)

    assert verify_audit(log.connections, expected=remembered).holds
    assert not verify_audit(log.connections, expected=ChainHead(remembered.seq, bytes(32))).holds


def test_since_the_newest_anchor_only_what_is_behind_it_is_read(log):
    set_column(3, "actor", "'eve'")(log)
    assert verify_audit(log.connections, since_anchor=True).holds

    set_column(log.second_anchor + 1, "actor", "'eve'")(log)

    first = verify_audit(log.connections, since_anchor=True).first
    assert (first.position, first.kind) == (log.second_anchor + 1, K.CHANGED)


def test_a_log_cut_off_at_the_newest_anchor_is_found_from_there(log):
    log.cut(log.second_anchor)

    first = verify_audit(log.connections, since_anchor=True).first
    assert (first.position, first.kind) == (log.second_anchor, K.TRUNCATED)


def test_what_a_restored_backup_has_lost_is_told_and_is_no_tampering(log):
    log.cut(log.second_anchor - 1)
    log.sql(
        "INSERT INTO morph.timeline (timeline, reason) VALUES (2, 'restored') ON CONFLICT DO NOTHING",
    )

    verified = verify_audit(log.connections)
    log.sql("DELETE FROM morph.timeline WHERE timeline = 2")

    assert verified.holds
    assert verified.abandoned == log.archived - log.second_anchor + 2
    assert chain_head(log.connections.registry("auditor"), SECURITY).seq == 3


@pytest.mark.parametrize(
    ("event", "name"), [("kernels.imported", "manifest"), ("kernel.purged", "proof")], ids=["import", "purge"]
)
def test_what_lies_in_the_store_alone_is_held_against_the_event_that_names_it(log, event, name):
    tenant, data = log.connections.tenant, b"what was said"
    key = blob_key(tenant, BlobDigest(sha256_hex(data)))
    facts = {f"{name}_digest": sha256_hex(data), f"{name}_key": key, "kernel_digest": "0" * 64}
    with psycopg.connect(log.database) as superuser:
        append = "SELECT morph.append_event_for(%s, %s, 'kernel/x', %s)"
        superuser.execute(append, (tenant, event, Jsonb(facts)))
    log.replace(key, data)
    assert verify_audit(log.connections).holds

    for found, kind in ((b"something else", K.BODY_CHANGED), (None, K.BODY_MISSING)):
        log.replace(key, found)
        first = verify_audit(log.connections).first
        assert (first.position, first.kind) == (log.head + 1, kind)


def test_what_a_purge_took_is_not_missed(log):
    log.sql("DELETE FROM morph.attestation WHERE tenant = '{tenant}'")
    assert not verify_audit(log.connections).holds

    with psycopg.connect(log.database) as superuser:
        append = "SELECT morph.append_event_for(%s, 'kernel.purge_started', 'kernel/x', %s)"
        for event in named_events(log, "kernel.compiled"):
            facts = Jsonb({"kernel_digest": event.facts["kernel_digest"]})
            superuser.execute(append, (log.connections.tenant, facts))

    assert verify_audit(log.connections).holds
