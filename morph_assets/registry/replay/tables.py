"""The same rows as they stand in the database, and where they differ from what the log says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql

from morph_assets.registry.replay.state import Key, ReplayedState, Row


@dataclass(frozen=True)
class ReplayedTable:
    """A table that the log rebuilds: its key, and the columns that have to be equal.

    `bodies` are columns too large for the log, each with the column that holds its digest (or is made from it, as
    `digests` says; moments are compared in microseconds in the same way). `born` and `changed` are the moments at which
    the row was made and changed last.
    """

    key: tuple[LiteralString, ...]
    columns: tuple[LiteralString, ...] = ()
    bodies: Mapping[LiteralString, LiteralString] = field(default_factory=dict)
    digests: Mapping[LiteralString, LiteralString] = field(default_factory=dict)
    born: tuple[LiteralString, ...] = ()
    changed: tuple[LiteralString, ...] = ()


# In the order in which foreign keys let rows be inserted.
REPLAYED_TABLES: Mapping[LiteralString, ReplayedTable] = {
    "tenant": ReplayedTable(("tenant",), ("state",), born=("created_at",)),
    "tenant_member": ReplayedTable(("login",), ("role",)),
    # What is used of it is counted, not told.
    "quota": ReplayedTable(("resource",), ("hard_limit",)),
    "blueprint": ReplayedTable(("name",), born=("created_at",)),
    "blueprint_document": ReplayedTable(("digest",), bodies={"document": "digest"}),
    "kernel_import": ReplayedTable(
        ("import_id",), ("manifest_digest", "manifest_key", "blueprints", "kernels", "reports"), born=("imported_at",)
    ),
    "blueprint_release": ReplayedTable(
        ("name", "version"),
        ("blueprint_digest", "state", "tags", "author", "parents", "row_version", "import_id"),
        born=("created_at",),
    ),
    "blob": ReplayedTable(("digest",), ("size_bytes", "state"), born=("created_at",)),
    "blob_location": ReplayedTable(("digest", "location", "byte_offset"), ("size_bytes",), born=("added_at",)),
    "kernel": ReplayedTable(
        ("digest",),
        (
            *("blueprint_digest", "build_key", "target", "toolchain", "pipeline", "recipe_version", "size_bytes"),
            *("bundle_digest", "bundle_key", "state", "state_reason", "evaluation", "speed_ratio", "latency_us"),
            *("memory_bytes", "risk", "tags", "speculative", "row_version", "import_id"),
        ),
        born=("created_at",),
        changed=("updated_at",),
    ),
    "build": ReplayedTable(
        ("build_id",),
        (
            *("build_key", "blueprint_digest", "kernel_digest", "outcome", "reason", "cpu_s", "wall_s", "isolation"),
            *("log_digest", "builder"),
        ),
        bodies={"log_tail": "log_digest"},
        digests={"log_digest": "encode(sha256(convert_to(log_tail, 'UTF8')), 'hex')"},
        born=("recorded_at",),
    ),
    "report": ReplayedTable(
        ("report_id",),
        (
            *("kernel_digest", "evaluation", "suite", "verdict", "body_digest", "runtime_torch", "runtime_device"),
            *("runtime_isa", "recorded_by"),
        ),
        bodies={"body": "body_digest"},
        born=("recorded_at",),
    ),
    "measurement": ReplayedTable(("report_id", "metric", "shape_class", "hardware"), ("value", "unit")),
    "attestation": ReplayedTable(
        ("kernel_digest", "envelope_digest"),
        ("kind", "report_id", "recorded_by"),
        bodies={"envelope": "envelope_digest"},
        born=("recorded_at",),
    ),
    "kernel_latency": ReplayedTable(("kernel_digest", "hardware", "shape_class"), ("latency_us",)),
    "alias": ReplayedTable(
        ("name", "alias"), ("version", "row_version", "frozen_reason", "frozen_by"), changed=("moved_at",)
    ),
    "alias_history": ReplayedTable(
        ("name", "alias", "row_version"), ("version", "since_seq", "actor", "rolled_back"), born=("moved_at",)
    ),
    "run": ReplayedTable(("run",), born=("created_at",)),
    "checkpoint": ReplayedTable(
        ("checkpoint",),
        (
            *("run", "branch", "parent", "epoch", "step", "controller_version", "world_size", "manifest_digest"),
            *("manifest_key", "lease_epoch", "seq"),
        ),
        born=("recorded_at",),
    ),
    "checkpoint_blob": ReplayedTable(("checkpoint", "digest")),
    "checkpoint_kernel": ReplayedTable(("checkpoint", "kernel_digest")),
    "branch_head": ReplayedTable(("run", "branch"), ("checkpoint", "row_version")),
    "checkpoint_tag": ReplayedTable(("run", "tag"), ("checkpoint", "row_version")),
    "pin": ReplayedTable(
        ("subject",),
        ("kernel_digest", "name", "version", "checkpoint", "reason", "pinned_by", "until_us", "row_version"),
        digests={"until_us": "(extract(epoch FROM until_at) * 1000000)::bigint"},
    ),
    "retention_policy": ReplayedTable(("name",), ("kind", "parameters", "grace_s", "enabled", "row_version")),
    "tombstone": ReplayedTable(
        ("kernel_digest",),
        (
            *("restores_to", "reason", "policy", "grace_until_us", "purge_seq", "purged_seq", "proof_digest"),
            "proof_key",
        ),
        digests={"grace_until_us": "(extract(epoch FROM grace_until) * 1000000)::bigint"},
    ),
    "doomed_object": ReplayedTable(("kernel_digest", "kind", "digest"), ("size_bytes",)),
    "approval": ReplayedTable(("kernel_digest", "seq"), ("evaluation", "approved", "reason", "decided_by")),
    "inbox": ReplayedTable(("subject",), ("content_digest",)),
    "usage_entry": ReplayedTable(
        ("entry_id",), ("kind", "run", "blueprint_digest", "kernel_digest", "quantity", "from_us", "to_us", "seq")
    ),
    "metering": ReplayedTable(("meter",), ("from_us", "to_us", "after")),
    "edge": ReplayedTable(("source", "relation", "target", "since_seq"), ("until_seq",)),
}


@dataclass(frozen=True)
class RowDifference:
    """One row that the log and the tables tell differently; None on the side that does not have it."""

    table: str
    key: Key
    told: Row | None
    stored: Row | None


def iter_differences(connection: psycopg.Connection[Any], told: ReplayedState) -> Iterator[RowDifference]:
    """Yield every row that differs from what the log says, table by table; call it in the snapshot of the log."""
    for table, spec in REPLAYED_TABLES.items():
        missing = dict(told.tables[table])
        for key, stored in _iter_rows(connection, told.tenant, table, spec):
            expected = missing.pop(key, None)
            if expected != stored:
                yield RowDifference(table, key, expected, stored)
        for key, expected in missing.items():
            yield RowDifference(table, key, expected, None)


def _iter_rows(
    connection: psycopg.Connection[Any], tenant: str, table: LiteralString, spec: ReplayedTable
) -> Iterator[tuple[Key, Row]]:
    read = [sql.SQL(spec.digests.get(column, column)) for column in (*spec.key, *spec.columns)]
    query = sql.SQL("SELECT {} FROM morph.{} WHERE tenant = %s").format(sql.SQL(", ").join(read), sql.Identifier(table))
    width = len(spec.key)
    for row in connection.execute(query, (tenant,)):
        values = [_plain(value) for value in row]
        yield tuple(values[:width]), dict(zip(spec.columns, values[width:], strict=True))


def _plain(value: object) -> object:
    return str(value) if isinstance(value, UUID) else value
