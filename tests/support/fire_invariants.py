"""What must hold of a registry whenever nobody is writing, whatever happened to it before."""

from collections import Counter, defaultdict
from typing import Any

import psycopg

from morph_assets.registry.audit.chain import verify_chain
from morph_assets.registry.connection import Registry
from morph_assets.registry.events import LOG, SECURITY, events_after
from morph_assets.registry.replay.check import check_replay
from tests.support.fire_client import Heard

_OFF_LIMITS = "SELECT resource, used, hard_limit FROM morph.quota WHERE tenant = %s AND used > hard_limit"
_RECOUNT = """
    SELECT q.resource, q.used, c.counted FROM morph.quota q JOIN (
        SELECT 'blueprints' AS resource, count(*) AS counted FROM morph.blueprint WHERE tenant = %(tenant)s
        UNION ALL SELECT 'kernels', count(*) FROM morph.kernel WHERE tenant = %(tenant)s AND state <> 'PURGED'
        UNION ALL SELECT 'checkpoints', count(*) FROM morph.checkpoint WHERE tenant = %(tenant)s
        UNION ALL SELECT 'blob_bytes', coalesce(sum(size_bytes), 0) FROM morph.blob WHERE tenant = %(tenant)s
                      AND state = 'live'
        UNION ALL SELECT 'builds_per_day', count(*) FROM morph.build WHERE tenant = %(tenant)s
                      AND (recorded_at AT TIME ZONE 'UTC')::date =
                          (SELECT coalesce(day, (now() AT TIME ZONE 'UTC')::date) FROM morph.quota
                           WHERE tenant = %(tenant)s AND resource = 'builds_per_day')
    ) c USING (resource) WHERE q.tenant = %(tenant)s AND q.used <> c.counted"""
_ASTRAY = """
    SELECT a.name, a.alias, r.version, r.state FROM morph.alias a JOIN morph.blueprint_release r
        USING (tenant, name, version) WHERE a.tenant = %s AND r.state <> 'PUBLISHED'"""
_TORN = """
    SELECT 'log', h.seq, count(e.seq), max(e.seq) FROM morph.chain_head h LEFT JOIN morph.event e USING (tenant)
    WHERE h.tenant = %(tenant)s GROUP BY h.seq
    HAVING h.seq IS DISTINCT FROM max(e.seq) OR count(e.seq) <> h.seq
    UNION ALL
    SELECT 'security', h.seq, count(e.seq), max(e.seq) FROM morph.security_head h
    LEFT JOIN morph.security_event e USING (tenant) WHERE h.tenant = %(tenant)s GROUP BY h.seq
    HAVING h.seq IS DISTINCT FROM max(e.seq) OR count(e.seq) <> h.seq"""


def assert_whole(superuser_url: str, auditor: Registry, tenant: str, heard: Heard) -> int:
    """Assert every invariant of the tenant; return how many events its log holds."""
    with psycopg.connect(superuser_url, autocommit=True) as superuser:
        assert superuser.execute(_TORN, {"tenant": tenant}).fetchall() == []
        assert superuser.execute(_OFF_LIMITS, (tenant,)).fetchall() == []
        assert superuser.execute(_RECOUNT, {"tenant": tenant}).fetchall() == []
        assert superuser.execute(_ASTRAY, (tenant,)).fetchall() == []
        allowed = set(superuser.execute("SELECT kind, from_state, to_state FROM morph.lifecycle").fetchall())
        states = superuser.execute(
            "SELECT 'kernel/' || digest, state FROM morph.kernel WHERE tenant = %s", (tenant,)
        ).fetchall()
    assert [verify_chain(auditor, chain=chain) for chain in (LOG, SECURITY)] == [None, None]
    assert check_replay(auditor, lambda _, digest: heard.memory.manifests[digest]).differences == ()
    events = events_after(auditor, 0, limit=1_000_000)
    assert_lawful(events, allowed, dict(states))
    assert_remembered(events, heard)
    return len(events)


def assert_lawful(events: list[Any], allowed: set[tuple[str, str, str]], states: dict[str, str]) -> None:
    """Assert that every kernel and release came to its state by allowed transitions alone, as the log tells."""
    told: dict[str, str] = defaultdict(lambda: "*")
    for event in events:
        facts = event.facts
        subject, state = event.subject, facts.get("to")
        if event.type == "kernel.compiled":
            state = "COMPILED"
        elif event.type in {"blueprint.submitted", "release.published", "release.retired"}:
            subject = f"release/{facts['name']}@{facts['version']}"
            state = "SUBMITTED" if event.type == "blueprint.submitted" else event.type.partition(".")[2].upper()
        elif not event.type.startswith("kernel.") or state is None:
            continue
        kind, was = subject.partition("/")[0], told[subject]
        assert facts.get("from", was) == was, event
        assert was == state or (kind, was, state) in allowed, event
        told[subject] = state
    assert {subject: state for subject, state in told.items() if subject.startswith("kernel/")} == states


def assert_remembered(events: list[Any], heard: Heard) -> None:
    """Assert that whatever a client was told of stands in the log, and that no epoch was given twice."""
    for known in list(heard.acknowledged):
        assert known.seq <= len(events), known
        if known.hash is not None and known.seq > 0:
            assert events[known.seq - 1].hash == known.hash, known
        elif known.hash is None:
            told = {"commit_checkpoint": "checkpoint.committed", "record_restore": "run.restored"}
            assert events[known.seq - 1].type == told[known.function], known
    assert [epoch for epoch, count in Counter(heard.epochs).items() if count > 1] == []
    assert heard.unexpected == []
