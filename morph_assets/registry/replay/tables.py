"""The same rows as they stand in the database, and where they differ from what the log says."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, LiteralString, cast
from uuid import UUID

from psycopg import sql

from morph_assets.registry.connection import Registry
from morph_assets.registry.replay.state import Key, ReplayedState, Row


@dataclass(frozen=True)
class ReplayedTable:
    """A table that the log rebuilds: its key, and the columns that have to be equal (name, or name and expression)."""

    key: tuple[LiteralString, ...]
    columns: tuple[LiteralString | tuple[LiteralString, LiteralString], ...] = ()


# In the order in which foreign keys let rows be inserted.
REPLAYED_TABLES: Mapping[LiteralString, ReplayedTable] = {
    "tenant": ReplayedTable(("tenant",), ("state",)),
    "blueprint": ReplayedTable(("name",)),
    "blueprint_document": ReplayedTable(("digest",)),
    "blueprint_release": ReplayedTable(
        ("name", "version"), ("blueprint_digest", "state", "tags", "author", "parents", "row_version")
    ),
    "blob": ReplayedTable(("digest",), ("size_bytes", "state")),
    "blob_location": ReplayedTable(("digest", "location", "byte_offset"), ("size_bytes",)),
    "kernel": ReplayedTable(
        ("digest",),
        (
            *("blueprint_digest", "build_key", "target", "toolchain", "pipeline", "recipe_version", "size_bytes"),
            *("bundle_digest", "bundle_key", "state", "state_reason", "evaluation", "speed_ratio", "latency_us"),
            *("memory_bytes", "row_version"),
        ),
    ),
    "build": ReplayedTable(
        ("build_id",),
        (
            *("build_key", "blueprint_digest", "kernel_digest", "outcome", "reason", "cpu_s", "wall_s", "isolation"),
            ("log_digest", "encode(sha256(convert_to(log_tail, 'UTF8')), 'hex')"),
            "builder",
        ),
    ),
    "report": ReplayedTable(
        ("report_id",),
        (
            *("kernel_digest", "evaluation", "suite", "verdict", "body_digest", "runtime_torch", "runtime_device"),
            *("runtime_isa", "recorded_by"),
        ),
    ),
    "measurement": ReplayedTable(("report_id", "metric", "shape_class", "hardware"), ("value", "unit")),
    "attestation": ReplayedTable(("kernel_digest", "envelope_digest"), ("kind", "report_id", "recorded_by")),
    "kernel_tag": ReplayedTable(("tag", "kernel_digest")),
    "alias": ReplayedTable(("name", "alias"), ("version", "row_version")),
    "alias_history": ReplayedTable(("name", "alias", "row_version"), ("version", "since_seq", "actor")),
    "run": ReplayedTable(("run",)),
    "checkpoint": ReplayedTable(
        ("checkpoint",),
        (
            *("run", "branch", "parent", "epoch", "step", "controller_version", "world_size", "manifest_digest"),
            *("manifest_key", "lease_epoch", "seq"),
        ),
    ),
    "checkpoint_blob": ReplayedTable(("checkpoint", "digest")),
    "checkpoint_kernel": ReplayedTable(("checkpoint", "kernel_digest")),
    "branch_head": ReplayedTable(("run", "branch"), ("checkpoint", "row_version")),
    "edge": ReplayedTable(("source", "relation", "target", "since_seq"), ("until_seq",)),
}


@dataclass(frozen=True)
class RowDifference:
    """One row that the log and the tables tell differently; None on the side that does not have it."""

    table: str
    key: Key
    told: Row | None
    stored: Row | None


def iter_differences(registry: Registry, told: ReplayedState) -> Iterator[RowDifference]:
    """Yield every row that differs from what the log says, table by table; call it in the snapshot of the log."""
    for table, spec in REPLAYED_TABLES.items():
        missing = dict(told.tables[table])
        for key, stored in _iter_rows(registry, table, spec):
            expected = missing.pop(key, None)
            if expected != stored:
                yield RowDifference(table, key, expected, stored)
        for key, expected in missing.items():
            yield RowDifference(table, key, expected, None)


def _iter_rows(registry: Registry, table: LiteralString, spec: ReplayedTable) -> Iterator[tuple[Key, Row]]:
    named = [(column, column) if isinstance(column, str) else column for column in spec.columns]
    query = sql.SQL("SELECT {} FROM morph.{}").format(
        sql.SQL(", ").join(
            [sql.Identifier(column) for column in spec.key] + [sql.SQL(expression) for _, expression in named]
        ),
        sql.Identifier(table),
    )
    width = len(spec.key)
    with registry.transaction() as connection:
        for row in connection.execute(query):
            values = [_plain(value) for value in cast("tuple[Any, ...]", row)]
            yield tuple(values[:width]), dict(zip((name for name, _ in named), values[width:], strict=True))


def _plain(value: object) -> object:
    return str(value) if isinstance(value, UUID) else value
