"""Bodies that are too large for an event: its payload names them by sha256, and they are kept beside it."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg.rows import tuple_row

from morph_assets.registry.audit.row import EventRow
from morph_assets.registry.connection import Registry
from morph_kernels.identity import BlobDigest

# The registry's own limits are lower: 4 MiB for a document or a report, 32 MiB for an import's manifest.
MAX_BODY_BYTES = 64 * 1024 * 1024
_BATCH = 50


@dataclass(frozen=True)
class NamedBody:
    """A body that an event names: what it is, its digest, the key of the row or object that holds it, and whose it is.

    `kernel` is the kernel's digest, or None for what belongs to none.
    """

    seq: int
    kind: str
    digest: BlobDigest
    row: str
    kernel: str | None


@dataclass(frozen=True)
class _Kind:
    """Where bodies of a kind are named and kept: a payload's members, the events (all if none), the query."""

    digest_member: str
    types: frozenset[str]
    row_members: tuple[str, ...]
    query: LiteralString


_ENVELOPES: LiteralString = """
    SELECT kernel_digest || '/' || envelope_digest, envelope FROM morph.attestation
    WHERE (kernel_digest, envelope_digest) IN
          (SELECT split_part(wanted, '/', 1), split_part(wanted, '/', 2) FROM unnest(%s::text[]) wanted)
"""
_KINDS: Mapping[str, _Kind] = {
    "blueprint document": _Kind(
        "blueprint_digest",
        frozenset({"blueprint.submitted"}),
        ("blueprint_digest",),
        "SELECT digest::text, document FROM morph.blueprint_document WHERE digest = ANY (%s)",
    ),
    "provenance": _Kind(
        "provenance_digest",
        frozenset(),
        ("kernel_digest", "provenance_digest"),
        _ENVELOPES,
    ),
    "attestation": _Kind(
        "attestation_digest",
        frozenset(),
        ("kernel_digest", "attestation_digest"),
        _ENVELOPES,
    ),
    "report": _Kind(
        "report_digest",
        frozenset(),
        ("report_id",),
        "SELECT report_id::text, body FROM morph.report WHERE report_id = ANY (%s::uuid[])",
    ),
    "build log": _Kind(
        "log_digest",
        frozenset(),
        ("build_id",),
        "SELECT build_id::text, convert_to(log_tail, 'UTF8') FROM morph.build WHERE build_id = ANY (%s::uuid[])",
    ),
}
# Most events name no body, and reading a payload to learn that costs more than all of its hashes.
_MARKS = tuple(f'"{kind.digest_member}":"'.encode() for kind in _KINDS.values() if not kind.types)
# What lies in the store alone: by event, what it is, and the members that name its digest and its key.
_OBJECTS = {
    "kernels.imported": ("import manifest", "manifest_digest", "manifest_key"),
    "kernel.purged": ("deletion proof", "proof_digest", "proof_key"),
}
OBJECT_KINDS = frozenset(kind for kind, _, _ in _OBJECTS.values())
_TYPES = frozenset(_OBJECTS).union(*(kind.types for kind in _KINDS.values()))


def named_bodies(rows: Iterable[EventRow]) -> list[NamedBody]:
    """Return the bodies that the events name."""
    return [
        body for row in rows if row.type in _TYPES or any(m in row.payload for m in _MARKS) for body in _bodies_of(row)
    ]


def read_bodies(registry: Registry, bodies: Sequence[NamedBody]) -> Iterator[tuple[NamedBody, bytes | None]]:
    """Yield each body with the bytes that its row holds now, or None where the row is gone."""
    for name, kind in _KINDS.items():
        wanted = [body for body in bodies if body.kind == name]
        for start in range(0, len(wanted), _BATCH):
            batch = wanted[start : start + _BATCH]
            keys = [body.row for body in batch]
            found: dict[str, bytes] = dict(registry.fetch_rows(tuple_row, kind.query, (keys,), binary=True))
            for body in batch:
                yield body, found.get(body.row)


def _bodies_of(row: EventRow) -> Iterator[NamedBody]:
    facts = _facts(row.payload)
    kernel = facts.get("kernel_digest")
    if row.type in _OBJECTS:
        what, named, key = _OBJECTS[row.type]
        yield NamedBody(row.seq, what, BlobDigest(str(facts.get(named))), str(facts.get(key)), None)
    for name, kind in _KINDS.items():
        digest, place = facts.get(kind.digest_member), [facts.get(member) for member in kind.row_members]
        if isinstance(digest, str) and None not in place and (not kind.types or row.type in kind.types):
            yield NamedBody(row.seq, name, BlobDigest(digest), "/".join(map(str, place)), kernel)


def _facts(payload: bytes) -> dict[str, Any]:
    try:
        facts = json.loads(payload)
    except ValueError:
        return {}  # nothing that we wrote: its hash will tell
    return facts if isinstance(facts, dict) else {}
