"""Anchors: one winner a number, each after the one before, true of every chain, silent about other tenants' names."""

import json
import threading
from datetime import UTC, datetime

import psycopg
import pytest

from morph_assets.registry.audit.anchor import NO_ANCHOR, tenant_digest, verify_anchor
from morph_assets.registry.events import SECURITY, chain_head
from morph_assets.registry.relays import relay_seq, unanchored_window
from morph_assets.usecases.anchor_log import AnchorRefusedError, anchor_log
from morph_assets.usecases.find_anchors import find_anchors, find_newest_anchor
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.store.keys import anchor_key
from tests.integration.test_archive_log import archived, logged
from tests.support.tampering import open_runs


def judged(connections, number):
    """Return one anchor of the store, as verification sees it."""
    stored = find_anchors(connections)[number]
    verdict = verify_anchor(stored.envelope, number=number, trust=connections.trust(), now=datetime.now(UTC))
    assert not isinstance(verdict, Rejected)
    return verdict


def test_an_anchor_covers_the_heads_of_both_chains_and_archives_them_first(made_platform):
    connections = made_platform.platform.connections
    open_runs(made_platform, 3)
    connections.registry("trainer").call("SELECT morph.record_security('security.access_refused', 'login/x', '{}')")

    found = anchor_log(connections)

    anchor = judged(connections, 1)
    head = anchor.head_of(connections.tenant)
    auditor = connections.registry("auditor")
    assert (found.number, found.created, found.seq) == (1, True, chain_head(auditor).seq)
    assert (head.seq, head.hash) == (chain_head(auditor).seq, chain_head(auditor).hash)
    assert (head.security_seq, head.security_hash) == (1, chain_head(auditor, SECURITY).hash)
    assert anchor.previous == NO_ANCHOR
    assert archived(connections) == logged(connections)
    assert relay_seq(auditor, "security") == 1


def test_each_anchor_names_the_bytes_of_the_one_before(made_platform):
    connections = made_platform.platform.connections
    for _ in range(3):
        open_runs(made_platform, 1)
        anchor_log(connections)

    anchors = find_anchors(connections)

    assert list(anchors) == [1, 2, 3]
    assert [judged(connections, number).previous for number in (2, 3)] == [anchors[1].digest, anchors[2].digest]


def test_where_nothing_happened_no_anchor_is_made(made_platform):
    connections = made_platform.platform.connections
    anchor_log(connections)

    again = anchor_log(connections)

    assert (again.number, again.created, again.waited.events) == (1, False, 0)


def test_a_tenant_learns_no_other_tenants_name_and_all_are_covered(made_platform, other_tenant):
    other_tenant.submitted()
    theirs = chain_head(other_tenant.registry("auditor")).seq
    connections = made_platform.platform.connections

    anchor_log(connections)

    text = find_anchors(connections)[1].envelope.decode()
    anchor = judged(connections, 1)
    assert other_tenant.name not in text
    assert other_tenant.name not in json.dumps(anchor.to_document())
    assert anchor.heads[tenant_digest(other_tenant.name)].seq == theirs


def test_of_auditors_that_meet_one_wins_each_number(made_platform):
    connections = made_platform.platform.connections
    others = [made_platform.other() for _ in range(3)]

    def anchor_often(platform):
        for _ in range(4):
            open_runs(made_platform, 1)
            anchor_log(platform.connections)

    threads = [threading.Thread(target=anchor_often, args=(platform,)) for platform in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for platform in others:
        platform.close()

    anchors = find_anchors(connections)
    assert list(anchors) == list(range(1, len(anchors) + 1))
    for number in list(anchors)[1:]:
        assert judged(connections, number).previous == anchors[number - 1].digest
    assert (
        judged(connections, len(anchors)).head_of(connections.tenant).seq
        == chain_head(connections.registry("auditor")).seq
    )


def test_the_window_that_no_anchor_covers_is_known(made_platform):
    connections = made_platform.platform.connections
    auditor = connections.registry("auditor")
    anchor_log(connections)
    assert unanchored_window(auditor) == unanchored_window(connections.registry("platform"))
    assert (unanchored_window(auditor).events, unanchored_window(auditor).oldest_s) == (0, 0.0)

    open_runs(made_platform, 2)

    assert unanchored_window(auditor).events == 2
    assert 0 < unanchored_window(auditor).oldest_s < 60
    assert made_platform.platform.counts().unanchored_events == 2
    assert anchor_log(connections).waited.events == 2


def test_the_newest_anchor_is_found_also_when_the_registry_forgot_how_many_there_are(made_platform, registry_database):
    connections = made_platform.platform.connections
    for _ in range(3):
        open_runs(made_platform, 1)
        anchor_log(connections)
    with psycopg.connect(registry_database) as superuser:
        superuser.execute("DELETE FROM morph.relay WHERE tenant = %s", (connections.tenant,))

    assert find_newest_anchor(connections).number == 3
    assert anchor_log(connections).number == 3


@pytest.mark.parametrize("forgery", ["damaged", "empty"])
def test_what_the_auditor_did_not_sign_is_not_gone_on_from(made_platform, forgery):
    connections = made_platform.platform.connections
    anchor_log(connections)
    genuine = find_anchors(connections)[1].envelope
    forged = b"{}" if forgery == "empty" else genuine.replace(b'"sig":"', b'"sig":"AA', 1)
    connections.store.put_if_absent(anchor_key(2), forged)

    with pytest.raises(AnchorRefusedError, match="anchor 2"):
        anchor_log(connections)


def test_a_log_that_contradicts_the_newest_anchor_is_not_anchored_again(made_platform, registry_database):
    connections = made_platform.platform.connections
    open_runs(made_platform, 3)
    found = anchor_log(connections)
    with psycopg.connect(registry_database) as superuser:
        superuser.execute("SET session_replication_role = replica")
        change = "UPDATE morph.event SET hash = sha256('x') WHERE tenant = %s AND seq = %s"
        superuser.execute(change, (connections.tenant, found.seq))

    with pytest.raises(AnchorRefusedError, match=f"event {found.seq} of the log"):
        anchor_log(connections)


def test_only_the_auditor_learns_the_heads(tenant):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        tenant.connect("platform").execute("SELECT * FROM morph.anchor_heads()")
