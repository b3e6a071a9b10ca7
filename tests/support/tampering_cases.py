"""Every way to tamper with the log that we know of, with the name and the place by which it must be found."""

from collections.abc import Callable
from typing import NamedTuple

from morph_assets.registry.audit.finding import Tampering
from morph_assets.registry.events import EventRecord, events_after
from morph_kernels.store.keys import anchor_key, blob_key
from tests.support.tampering import Tampered

K = Tampering


class Case(NamedTuple):
    """A tampering, its kind, the first bad place, and whether that is in the log."""

    name: str
    tamper: Callable[[Tampered], object]
    kind: Tampering
    position: Callable[[Tampered], int]
    place: str = "log"


def at(seq: int) -> Callable[[Tampered], int]:
    return lambda _: seq


def set_column(seq: int, column: str, value: str) -> Callable[[Tampered], None]:
    return body("event", f"{column} = {value}", f"AND seq = {seq}")


def rewrite(seq: Callable[[Tampered], int]) -> Callable[[Tampered], None]:
    def tamper(log):
        set_column(seq(log), "actor", "'eve'")(log)
        log.rehash(seq(log))

    return tamper


def then_rehash(change: Callable[[Tampered], object], seq: int) -> Callable[[Tampered], None]:
    def tamper(log):
        change(log)
        log.rehash(seq)

    return tamper


def rewrite_everywhere(log: Tampered) -> None:
    """Rewrite the log and its archived copy alike, behind the first anchor."""
    rewrite(lambda log: log.first_anchor + 3)(log)
    log.rewrite_segments(log.first_anchor + 3, lambda row: row._replace(actor="eve"))


def body(table: str, change: str, subject: str = "") -> Callable[[Tampered], None]:
    statement = "UPDATE morph.{table} SET {change} WHERE tenant = '{tenant}' {subject}"
    return lambda log: log.sql(statement, table=table, change=change, subject=subject)


def stored_body(log: Tampered, data: bytes | None) -> None:
    found = named_events(log, "kernel.validated")[0]
    log.replace(blob_key(log.connections.tenant, found.facts["report_digest"]), data)


def named_events(log: Tampered, kind: str) -> list[EventRecord]:
    return events_after(log.connections.registry("auditor"), 0, types=[kind])


def first_of(kind: str) -> Callable[[Tampered], int]:
    return lambda log: named_events(log, kind)[0].seq


CASES = [
    Case("a payload", set_column(4, "payload", "'{}'"), K.CHANGED, at(4)),
    Case("an actor", set_column(5, "actor", "'eve'"), K.CHANGED, at(5)),
    Case("a claimed actor", set_column(5, "claimed_actor", "'eve'"), K.CHANGED, at(5)),
    Case("a type", set_column(5, "type", "'kernel.rejected'"), K.CHANGED, at(5)),
    Case("a subject", set_column(2, "subject", "'kernel/x'"), K.CHANGED, at(2)),
    Case("a moment", set_column(3, "recorded_at", "recorded_at - interval '1 us'"), K.CHANGED, at(3)),
    Case("an id", set_column(3, "event_id", "gen_random_uuid()"), K.CHANGED, at(3)),
    Case("a timeline", set_column(3, "timeline", "2"), K.CHANGED, at(3)),
    Case("a version", set_column(3, "schema_version", "1"), K.CHANGED, at(3)),
    Case("a hash", set_column(6, "hash", "sha256('x')"), K.CHANGED, at(6)),
    Case("a link", set_column(6, "prev_hash", "sha256('x')"), K.CHANGED, at(6)),
    Case(
        "one not yet archived",
        lambda log: set_column(log.archived + 1, "actor", "'eve'")(log),
        K.CHANGED,
        lambda log: log.archived + 1,
    ),
    Case(
        "the first deleted",
        lambda log: log.sql("DELETE FROM morph.event WHERE tenant = '{tenant}' AND seq = 1"),
        K.DELETED,
        at(1),
    ),
    Case(
        "one deleted",
        lambda log: log.sql("DELETE FROM morph.event WHERE tenant = '{tenant}' AND seq = 5"),
        K.DELETED,
        at(5),
    ),
    Case("one deleted, the rest renumbered", lambda log: log.remove(5), K.DELETED, at(5)),
    Case("one deleted, the rest rehashed", then_rehash(lambda log: log.remove(5), 5), K.DELETED, at(5)),
    Case(
        "one not yet archived deleted",
        lambda log: log.sql("DELETE FROM morph.event WHERE tenant = '{tenant}' AND seq = {seq}", seq=log.archived + 2),
        K.DELETED,
        lambda log: log.archived + 2,
    ),
    Case("one inserted", lambda log: log.insert(5), K.INSERTED, at(5)),
    Case("one inserted, the rest rehashed", then_rehash(lambda log: log.insert(5), 5), K.INSERTED, at(5)),
    Case(
        "one inserted that is not yet archived",
        lambda log: log.insert(log.archived + 2),
        K.INSERTED,
        lambda log: log.archived + 2,
    ),
    Case("two reordered", lambda log: log.swap(4), K.REORDERED, at(4)),
    Case("two reordered and rehashed", then_rehash(lambda log: log.swap(4), 4), K.REORDERED, at(4)),
    Case(
        "two reordered that are not yet archived",
        lambda log: log.swap(log.archived + 2),
        K.REORDERED,
        lambda log: log.archived + 2,
    ),
    Case(
        "the end cut off",
        lambda log: log.sql("DELETE FROM morph.event WHERE tenant = '{tenant}' AND seq >= {seq}", seq=log.archived + 3),
        K.TRUNCATED,
        lambda log: log.archived + 3,
    ),
    Case(
        "the end cut off with the head, behind the anchor",
        lambda log: log.cut(log.archived),
        K.TRUNCATED,
        lambda log: log.archived,
    ),
    Case(
        "the end cut off with the head, before the anchor",
        lambda log: log.cut(log.second_anchor - 1),
        K.TRUNCATED,
        lambda log: log.second_anchor - 1,
    ),
    Case("all cut off with the head", lambda log: log.cut(1), K.TRUNCATED, at(1)),
    Case(
        "one rewritten with all hashes behind it",
        rewrite(lambda log: log.second_anchor + 2),
        K.REWRITTEN,
        lambda log: log.second_anchor + 2,
    ),
    Case("one rewritten before the anchor", rewrite(at(3)), K.REWRITTEN, at(3)),
    Case("log and archive rewritten alike", rewrite_everywhere, K.REWRITTEN, lambda log: log.first_anchor + 1),
    Case(
        "the head's hash",
        lambda log: log.sql("UPDATE morph.chain_head SET hash = sha256('x') WHERE tenant = '{tenant}'"),
        K.HEAD_CHANGED,
        lambda log: log.head,
    ),
    Case(
        "the head moved back",
        lambda log: log.sql("UPDATE morph.chain_head SET seq = seq - 2 WHERE tenant = '{tenant}'"),
        K.HEAD_CHANGED,
        lambda log: log.head - 2,
    ),
    Case(
        "an archived event",
        lambda log: log.change_segment(4, lambda row: row._replace(actor="eve")),
        K.SEGMENT_CHANGED,
        at(4),
    ),
    Case(
        "an archived event rehashed",
        lambda log: log.change_segment(4, lambda row: row._replace(actor="eve", prev_hash=bytes(32))),
        K.SEGMENT_CHANGED,
        at(4),
    ),
    Case("a segment damaged", lambda log: log.replace(log.segments()[0], b"x"), K.SEGMENT_CHANGED, at(1)),
    Case("the first segment removed", lambda log: log.replace(log.segments()[0], None), K.SEGMENT_MISSING, at(1)),
    Case(
        "the last segment removed",
        lambda log: log.replace(log.segments()[-1], None),
        K.SEGMENT_MISSING,
        lambda log: log.second_anchor + 1,
    ),
    Case(
        "an anchor signed by somebody else",
        lambda log: log.forge_anchor(1, log.objects.parent / "eve"),
        K.ANCHOR_FORGED,
        at(1),
        "anchors",
    ),
    Case(
        "an anchor signed again by the auditor",
        lambda log: log.sign_anchor_again(1),
        K.ANCHOR_FORGED,
        at(1),
        "anchors",
    ),
    Case(
        "the newest anchor signed by somebody else",
        lambda log: log.forge_anchor(2, log.objects.parent / "eve"),
        K.ANCHOR_FORGED,
        at(2),
        "anchors",
    ),
    Case("an anchor damaged", lambda log: log.replace(anchor_key(2), b"{}"), K.ANCHOR_FORGED, at(2), "anchors"),
    Case("an anchor removed", lambda log: log.replace(anchor_key(1), None), K.ANCHOR_MISSING, at(1), "anchors"),
    Case("the newest anchor removed", lambda log: log.replace(anchor_key(2), None), K.ANCHOR_MISSING, at(2), "anchors"),
    Case(
        "a report",
        body("report", "body = 'x', body_digest = encode(sha256('x'), 'hex')"),
        K.BODY_CHANGED,
        first_of("kernel.validated"),
    ),
    Case(
        "an envelope",
        body("attestation", "envelope = 'x', envelope_digest = encode(sha256('x'), 'hex')", "AND kind = 'provenance'"),
        K.BODY_MISSING,
        first_of("kernel.compiled"),
    ),
    Case("a build's log", body("build", "log_tail = 'all fine'"), K.BODY_CHANGED, first_of("kernel.compiled")),
    Case(
        "a blueprint's document",
        body("blueprint_document", "document = digest::bytea, digest = encode(sha256(digest::bytea), 'hex')"),
        K.BODY_MISSING,
        first_of("blueprint.submitted"),
    ),
    Case("a body's copy", lambda log: stored_body(log, b"x"), K.BODY_CHANGED, first_of("kernel.validated")),
    Case("a body's copy gone", lambda log: stored_body(log, None), K.BODY_MISSING, first_of("kernel.validated")),
    Case(
        "a refusal",
        lambda log: log.sql(
            "UPDATE morph.security_event SET subject = 'login/bob' WHERE tenant = '{tenant}' AND seq = 2"
        ),
        K.CHANGED,
        at(2),
        "security",
    ),
    Case(
        "a refusal deleted",
        lambda log: log.sql("DELETE FROM morph.security_event WHERE tenant = '{tenant}' AND seq = 2"),
        K.DELETED,
        at(2),
        "security",
    ),
    Case(
        "all refusals deleted with their head",
        lambda log: log.sql(
            "DELETE FROM morph.security_event WHERE tenant = '{tenant}'",
            "DELETE FROM morph.security_head WHERE tenant = '{tenant}'",
        ),
        K.TRUNCATED,
        at(1),
        "security",
    ),
]
