"""The log in the object store: whole, in order, also when archivers meet, die or find a torn object."""

import json
import subprocess
import sys
import threading

import pytest

from morph_assets.registry.audit.chain import read_rows
from morph_assets.registry.audit.row import expected_hash, record_of
from morph_assets.registry.audit.segment import MAX_SEGMENT_BYTES, cut_segment, encode_segment, parse_segment
from morph_assets.registry.events import LOG, chain_head, events_after
from morph_assets.registry.relays import advance_relay, relay_seq
from morph_assets.usecases.archive_log import ArchiveForkedError, archive_log
from morph_kernels.artifact.document import MalformedError
from morph_kernels.blueprint import library
from morph_kernels.canonical import sha256_hex
from morph_kernels.store.keys import blob_key, log_prefix, parse_segment_key, segment_key
from tests.support.command_line import clean_environment
from tests.support.tampering import open_runs


def archived(connections):
    """Return every event in the store, in the order of the keys."""
    keys = sorted(found.key for found in connections.store.list_objects(log_prefix(connections.tenant, "log")))
    assert all(parse_segment_key(key)[0] == 1 for key in keys)
    segments = [parse_segment(connections.store.get(key, max_bytes=MAX_SEGMENT_BYTES), what=key) for key in keys]
    return [row for segment in segments for row in segment]


def logged(connections):
    """Return every event of the registry."""
    return read_rows(connections.registry("auditor"), LOG, after=0, up_to=10**9, limit=10**6)


def test_what_a_use_case_acknowledged_lies_in_the_store_with_its_bodies(made_platform):
    connections = made_platform.platform.connections
    blueprint = library()[0]

    made_platform.platform.submit_blueprint(blueprint)

    assert archived(connections) == logged(connections)
    stored = connections.store.get(blob_key(connections.tenant, blueprint.digest), max_bytes=10**7)
    assert stored == blueprint.to_bytes()


def test_reports_envelopes_and_logs_are_archived_under_their_digests(made_platform):
    connections = made_platform.platform.connections
    made_platform.published()

    archive_log(connections)

    named = {}
    for event in events_after(connections.registry("auditor"), 0):
        named |= {
            k: v
            for k, v in event.facts.items()
            if k in {"provenance_digest", "report_digest", "log_digest", "attestation_digest"}
        }
    assert len(named) == 4
    for digest in named.values():
        data = connections.store.get(blob_key(connections.tenant, digest), max_bytes=10**7)
        assert sha256_hex(data) == digest


def test_an_archived_event_is_the_registrys_and_carries_its_own_proof(made_platform):
    connections = made_platform.platform.connections
    open_runs(made_platform, 3)
    archive_log(connections)

    rows = archived(connections)

    assert all(row.hash == expected_hash(row) for row in rows)
    assert [record_of(row) for row in rows] == events_after(connections.registry("auditor"), 0)


def test_archivers_that_meet_bring_every_event_once(made_platform):
    connections = made_platform.platform.connections
    others = [made_platform.other() for _ in range(3)]
    done = threading.Event()

    def archive(platform):
        while not done.is_set():
            archive_log(platform.connections)
        archive_log(platform.connections)

    threads = [threading.Thread(target=archive, args=(platform,)) for platform in others]
    for thread in threads:
        thread.start()
    open_runs(made_platform, 60)
    done.set()
    for thread in threads:
        thread.join()
    for platform in others:
        platform.close()

    assert archived(connections) == logged(connections)


DIE_BEFORE_THE_CURSOR = """
import os
import morph_assets.usecases.archive_log as archive
from morph_assets.platform import Platform
archive.advance_relay = lambda *_, **__: os._exit(9)
archive.archive_log(Platform.connect().connections)
"""


def test_an_archiver_killed_between_object_and_cursor_is_taken_over_from(made_platform, tmp_path):
    connections = made_platform.platform.connections
    open_runs(made_platform, 2)
    killed = subprocess.run(
        [sys.executable, "-c", DIE_BEFORE_THE_CURSOR],
        check=False,
        cwd=tmp_path,
        env=clean_environment(**made_platform.environment()),
    )
    assert killed.returncode == 9
    assert relay_seq(connections.registry("platform"), "archive") == 0
    open_runs(made_platform, 2)

    found = archive_log(connections)

    assert found.seq == chain_head(connections.registry("auditor")).seq
    assert archived(connections) == logged(connections)


def test_a_torn_segment_that_no_cursor_passed_is_replaced(made_platform):
    connections = made_platform.platform.connections
    open_runs(made_platform, 2)
    connections.store.put_if_absent(segment_key(connections.tenant, "log", 1, 1), b"")

    archive_log(connections)

    assert archived(connections) == logged(connections)


def test_another_story_in_the_store_is_never_written_over(made_platform):
    connections = made_platform.platform.connections
    open_runs(made_platform, 2)
    rows = logged(connections)
    forged = [row._replace(actor="eve") if row.seq == 2 else row for row in rows]
    connections.store.put_if_absent(segment_key(connections.tenant, "log", 1, 1), encode_segment(forged))

    with pytest.raises(ArchiveForkedError, match="another event 2"):
        archive_log(connections)

    assert relay_seq(connections.registry("platform"), "archive") == 0


def test_a_cursor_moves_only_forward_from_where_it_was_seen_and_not_past_the_log(tenant):
    tenant.submitted()
    platform = tenant.registry("platform")
    head = chain_head(platform).seq

    assert advance_relay(platform, "archive", expected=0, seq=1)
    assert not advance_relay(platform, "archive", expected=0, seq=head)
    assert advance_relay(platform, "archive", expected=1, seq=head)
    for expected, seq in ((head, head + 1), (head, head), (head, 1)):
        with pytest.raises(Exception, match="cannot go"):
            advance_relay(platform, "archive", expected=expected, seq=seq)
    assert relay_seq(platform, "archive") == head


def test_a_segment_ends_where_the_timeline_does_and_before_it_grows_too_large(tenant):
    tenant.submitted()
    row = read_rows(tenant.registry("auditor"), LOG, after=0, up_to=1, limit=1)[0]
    rows = [row._replace(seq=seq, timeline=1 if seq < 3 else 2) for seq in range(1, 5)]
    large = [row._replace(seq=seq, payload=b"x" * 9_000_000) for seq in range(1, 4)]

    assert [found.seq for found in cut_segment(rows)] == [1, 2]
    assert [found.seq for found in cut_segment(large)] == [1]
    assert cut_segment(rows[:1]) == rows[:1]


def test_what_is_no_segment_is_refused(tenant):
    tenant.submitted()
    rows = read_rows(tenant.registry("auditor"), LOG, after=0, up_to=10**9, limit=100)
    good = encode_segment(rows)
    assert parse_segment(good, what="x") == rows
    bad = [
        b"",
        good[:-1],
        good + b"x",
        encode_segment([]),
        encode_segment(list(reversed(rows))),
        encode_segment([rows[0], rows[-1]._replace(seq=99)]),
        encode_segment([rows[0]._replace(subject=7)]),
    ]
    for data in bad:
        with pytest.raises(MalformedError):
            parse_segment(data, what="x")


def test_a_line_is_rfc_8785(tenant):
    import zstandard

    tenant.submitted()
    rows = read_rows(tenant.registry("auditor"), LOG, after=0, up_to=10**9, limit=100)
    line = zstandard.ZstdDecompressor().decompress(encode_segment(rows)).split(b"\n")[0]
    document = json.loads(line)
    assert list(document) == sorted(document)
    assert json.loads(document["payload"]) == record_of(rows[0]).facts
