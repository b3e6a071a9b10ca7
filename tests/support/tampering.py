"""What somebody with every power over the database, or over the store, can do to the audit log."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg

from morph_assets.connections import Connections
from morph_assets.registry.audit.row import EventRow, expected_hash
from morph_assets.registry.audit.segment import MAX_SEGMENT_BYTES, encode_segment, parse_segment
from morph_assets.registry.events import LOG, SECURITY, chain_head
from morph_assets.usecases.anchor_log import anchor_log
from morph_assets.usecases.archive_log import archive_log
from morph_assets.usecases.find_anchors import find_anchors
from morph_kernels.artifact.document import parse_document
from morph_kernels.artifact.envelope import parse_envelope
from morph_kernels.artifact.signing import load_signer
from morph_kernels.artifact.trust import Role, create_trust, key_path
from morph_kernels.identity import ObjectKey
from morph_kernels.store.keys import anchor_key, log_prefix, parse_segment_key
from tests.support.platform import TestPlatform
from tests.support.registry import TestTenant

REHASH = """
DO $$
DECLARE
    row morph.event;
    head bytea;
BEGIN
    FOR row IN SELECT * FROM morph.event WHERE tenant = '{tenant}' AND seq >= {seq} ORDER BY seq LOOP
        SELECT hash INTO head FROM morph.event WHERE tenant = row.tenant AND seq = row.seq - 1;
        row.prev_hash := coalesce(head, decode(repeat('00', 32), 'hex'));
        row.hash := morph.event_hash(row);
        UPDATE morph.event SET prev_hash = row.prev_hash, hash = row.hash WHERE tenant = row.tenant AND seq = row.seq;
    END LOOP;
    UPDATE morph.chain_head h SET seq = e.seq, hash = e.hash FROM morph.event e
    WHERE h.tenant = '{tenant}' AND e.tenant = h.tenant
      AND e.seq = (SELECT max(seq) FROM morph.event WHERE tenant = '{tenant}');
END $$
"""
INSERTED = """
INSERT INTO morph.event SELECT tenant, {seq}, timeline, '{event}', type, subject, schema_version, actor, recorded_at,
       payload, prev_hash, hash, txid, claimed_actor, claimed_at FROM morph.event
WHERE tenant = '{tenant}' AND seq = {seq} + 1
"""
SHIFTED = "UPDATE morph.event SET seq = seq + {by} WHERE tenant = '{tenant}' AND seq {where}"


TABLES = (
    "event",
    "chain_head",
    "security_event",
    "security_head",
    "relay",
    "report",
    "attestation",
    "build",
    "blueprint_document",
)


@dataclass
class Tampered:
    """A tenant's log at four marks: anchored twice, archived beyond that, and appended to beyond that."""

    connections: Connections
    database: str
    objects: Path
    first_anchor: int
    second_anchor: int
    archived: int
    head: int

    def sql(self, *statements: str, **values: object) -> None:
        """Carry out statements as the superuser with every trigger off."""
        with psycopg.connect(self.database) as superuser:
            superuser.execute("SET session_replication_role = replica")
            for statement in statements:
                superuser.execute(statement.format(tenant=self.connections.tenant, **values).encode())

    def keep(self) -> None:
        """Remember everything as it is now."""
        self.sql("CREATE SCHEMA kept")
        for table in TABLES:
            self.sql("CREATE TABLE kept.{table} AS SELECT * FROM morph.{table} WHERE tenant = '{tenant}'", table=table)
        shutil.copytree(self.objects, self.objects.with_name("kept"))

    def bring_back(self) -> None:
        """Make everything again what was kept."""
        for table in TABLES:
            self.sql(
                "DELETE FROM morph.{table} WHERE tenant = '{tenant}'",
                "INSERT INTO morph.{table} SELECT * FROM kept.{table}",
                table=table,
            )
        shutil.rmtree(self.objects)
        shutil.copytree(self.objects.with_name("kept"), self.objects)

    def rehash(self, seq: int) -> None:
        """Make every hash from an event on anew, and the head."""
        self.sql(REHASH, seq=seq)

    def shift(self, seq: int, by: int) -> None:
        """Renumber the events from one on."""
        far = 1_000_000
        self.sql(SHIFTED, by=far, where=f">= {seq}")
        self.sql(SHIFTED, by=by - far, where=f">= {seq + far}")

    def insert(self, seq: int) -> None:
        """Put a new event in front of one."""
        self.shift(seq, 1)
        self.sql(INSERTED, seq=seq, event=uuid4())

    def remove(self, seq: int) -> None:
        """Take an event out and close the gap."""
        self.sql("DELETE FROM morph.event WHERE tenant = '{tenant}' AND seq = {seq}", seq=seq)
        self.shift(seq + 1, -1)

    def swap(self, seq: int) -> None:
        """Let an event and its successor change places."""
        self.sql(
            "UPDATE morph.event SET seq = CASE seq WHEN {seq} THEN 1000000 ELSE {seq} END"
            " WHERE tenant = '{tenant}' AND seq IN ({seq}, {seq} + 1)",
            "UPDATE morph.event SET seq = {seq} + 1 WHERE tenant = '{tenant}' AND seq = 1000000",
            seq=seq,
        )

    def cut(self, seq: int) -> None:
        """Take the events from one on away and let the head know."""
        self.sql("DELETE FROM morph.event WHERE tenant = '{tenant}' AND seq >= {seq}", seq=seq)
        self.rehash(seq)

    def segments(self) -> list[ObjectKey]:
        """Return the keys of the log's segments in order."""
        found = self.connections.store.list_objects(log_prefix(self.connections.tenant, "log"))
        return sorted(entry.key for entry in found)

    def segment_of(self, seq: int) -> ObjectKey:
        """Return the key of the segment that holds an event."""
        return [key for key in self.segments() if parse_segment_key(key)[1] <= seq][-1]

    def rewrite_segments(self, seq: int, change) -> None:
        """Change archived events from one on, and make their hashes anew."""
        head: EventRow | None = None
        for key in self.segments():
            rows = parse_segment(self.connections.store.get(key, max_bytes=MAX_SEGMENT_BYTES), what=key)
            for place, row in enumerate(rows):
                if row.seq >= seq and head is not None:
                    changed = (change(row) if row.seq == seq else row)._replace(prev_hash=head.hash)
                    rows[place] = changed._replace(hash=expected_hash(changed))
                head = rows[place]
            self.replace(key, encode_segment(rows))

    def change_segment(self, seq: int, change) -> None:
        """Change one archived event and no hash."""
        key = self.segment_of(seq)
        rows = parse_segment(self.connections.store.get(key, max_bytes=MAX_SEGMENT_BYTES), what=key)
        self.replace(key, encode_segment([change(row) if row.seq == seq else row for row in rows]))

    def replace(self, key: ObjectKey, data: bytes | None) -> None:
        """Put something else into the place of an object, or nothing."""
        self.connections.store.delete(key)
        if data is not None:
            self.connections.store.put_if_absent(key, data)

    def forge_anchor(self, number: int, folder: Path) -> None:
        """Replace an anchor by one that somebody else's auditor signed."""
        create_trust(folder)
        document = self._anchor(number)
        self.replace(anchor_key(number), load_signer(key_path(folder, Role.AUDITOR)).sign(document))

    def sign_anchor_again(self, number: int) -> None:
        """Replace an anchor by one that the auditor signed too, but that is not the one the next one names."""
        document = self._anchor(number) | {"issued_at": "2026-01-02T03:04:05Z"}
        self.replace(anchor_key(number), self.connections.signer(Role.AUDITOR).sign(document))

    def _anchor(self, number: int) -> dict[str, object]:
        genuine = find_anchors(self.connections)[number].envelope
        payload = parse_envelope(genuine, what="anchor", max_bytes=10**7).payload
        return parse_document(payload, what="anchor", max_bytes=10**7)


def open_runs(made_platform: TestPlatform, count: int) -> None:
    """Have a trainer do something that no use case acknowledges."""
    trainer = made_platform.platform.connections.registry("trainer")
    for _ in range(count):
        trainer.call("SELECT morph.open_run(%s, %s, 60)", (f"run-{uuid4().hex[:8]}", uuid4()))


def refuse(tenant: TestTenant, count: int) -> None:
    """Have refusals recorded."""
    for _ in range(count):
        tenant.registry("curator").call("SELECT morph.record_security('security.access_refused', 'login/eve', '{}')")


def make_history(made_platform: TestPlatform, tenant: TestTenant, database: str) -> Tampered:
    """Let some things happen, and anchor and archive them on the way."""
    connections = made_platform.platform.connections
    tenant.published("k1", blueprint="one")
    refuse(tenant, 3)
    first = anchor_log(connections).seq
    tenant.published("k2", blueprint="two")
    second = anchor_log(connections).seq
    open_runs(made_platform, 3)
    archived = archive_log(connections).seq
    archive_log(connections, SECURITY)
    open_runs(made_platform, 4)
    head = chain_head(connections.registry("auditor"), LOG).seq
    return Tampered(connections, database, made_platform.objects, first, second, archived, head)
