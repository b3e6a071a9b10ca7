"""The manifest of a checkpoint: what it holds, where its bytes are, and everything that is not a tensor.

Format 1, RFC 8785 JSON. A checkpoint is its manifest's digest plus the blobs the manifest names.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from uuid import UUID

from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.checkpoint.journal import BodyRecord
from morph_kernels.checkpoint.ledger import BlobLocation
from morph_kernels.errors import MorphError
from morph_kernels.identity import is_digest

FORMAT = 1
MAX_MANIFEST_BYTES = 256 * 1024 * 1024


class ManifestError(MorphError):
    """Bytes that are not a manifest which this version can read."""


@dataclass(frozen=True)
class TensorEntry:
    """One tensor: its form and the blake3 of its bytes."""

    dtype: str
    shape: tuple[int, ...]
    digest: str
    size_bytes: int


@dataclass(frozen=True)
class GraftEntry:
    """A graft; its blueprint's bytes are the tensor `graft/<slot>`."""

    slot: str
    name: str
    digest: str
    body: str


@dataclass(frozen=True)
class Environment:
    """What the bits of a trajectory depend on besides the state."""

    torch: str
    threads: int
    isa: str


@dataclass(frozen=True)
class CheckpointManifest:
    """Everything of one checkpoint but the bytes of its tensors.

    Tensor names: `model/<name>`, `optimizer/<parameter>/<key>`, `part/<name>/...`, `graft/<slot>`, `rank/<n>`.
    """

    checkpoint: UUID
    run: str
    branch: str
    parent: UUID | None
    epoch: int
    step: int
    controller_version: str
    world_size: int
    environment: Environment
    tensors: Mapping[str, TensorEntry]
    blobs: Mapping[str, BlobLocation]
    trainable: tuple[str, ...]
    model_extra: Mapping[str, Any]
    optimizer: Mapping[str, Any] | None
    parts: Mapping[str, Any]
    seeds: Any
    grafts: tuple[GraftEntry, ...]
    journal: tuple[BodyRecord, ...]

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        document = {field.name: getattr(self, field.name) for field in fields(self)}
        document |= {
            "format": FORMAT,
            "minimum_reader": FORMAT,
            "checkpoint": str(self.checkpoint),
            "parent": None if self.parent is None else str(self.parent),
            "environment": asdict(self.environment),
            "tensors": {name: asdict(entry) for name, entry in self.tensors.items()},
            "blobs": {digest: asdict(location) for digest, location in self.blobs.items()},
            "trainable": list(self.trainable),
            "grafts": [asdict(graft) for graft in self.grafts],
            "journal": [record.to_document() for record in self.journal],
        }
        return canonical_bytes(document)


def manifest_digest(data: bytes) -> str:
    """Return what the ledger keeps of a manifest."""
    return sha256_hex(data)


def parse_manifest(data: bytes) -> CheckpointManifest:
    """Parse a manifest; unknown, missing and malformed fields refuse.

    Raises:
        ManifestError: the bytes are not a manifest, or one that needs a newer reader.
    """
    try:
        return _read(json.loads(data))
    except ManifestError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, MorphError) as error:
        raise ManifestError(f"not a checkpoint manifest: {error!r:.200}") from error


def _read(document: dict[str, Any]) -> CheckpointManifest:
    reader = document["minimum_reader"]
    if reader > FORMAT:
        raise ManifestError(f"this checkpoint needs a reader of format {reader}, this one reads {FORMAT}: upgrade")
    expected = {field.name for field in fields(CheckpointManifest)} | {"format", "minimum_reader"}
    if set(document) != expected:
        raise ManifestError(f"manifest fields are missing or unknown: {sorted(set(document) ^ expected)}")
    del document["format"], document["minimum_reader"]
    tensors = {
        name: TensorEntry(**(entry | {"shape": tuple(entry["shape"])})) for name, entry in document["tensors"].items()
    }
    blobs = {digest: BlobLocation(**location) for digest, location in document["blobs"].items()}
    _check_blobs(tensors, blobs)
    return CheckpointManifest(
        **(
            document
            | {
                "checkpoint": UUID(document["checkpoint"]),
                "parent": None if document["parent"] is None else UUID(document["parent"]),
                "environment": Environment(**document["environment"]),
                "tensors": tensors,
                "blobs": blobs,
                "trainable": tuple(document["trainable"]),
                "grafts": tuple(GraftEntry(**graft) for graft in document["grafts"]),
                "journal": tuple(BodyRecord.from_document(record) for record in document["journal"]),
            }
        )
    )


def _check_blobs(tensors: Mapping[str, TensorEntry], blobs: Mapping[str, BlobLocation]) -> None:
    for digest, location in blobs.items():
        if not is_digest(digest) or location.size_bytes <= 0 or location.byte_offset < 0:
            raise ManifestError(f"blob {digest:.80} has an impossible place")
    for name, entry in tensors.items():
        found = blobs[entry.digest].size_bytes if entry.size_bytes else 0
        if entry.size_bytes != found:
            raise ManifestError(f"tensor {name} has {entry.size_bytes} bytes and its blob {found}")
