"""The manifest of a backup: written last, so that a folder without one is no backup."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from morph_assets.archive.errors import BackupDamagedError
from morph_kernels.artifact.document import Fields, MalformedError, format_time, parse_document
from morph_kernels.canonical import canonical_bytes

BACKUP_FORMAT = 1
MANIFEST_NAME = "manifest.json"
MORPH_DUMP = "morph.dump"
DAGSTER_DUMP = "dagster.dump"
OBJECTS_INDEX = "objects.jsonl"
OBJECTS_FOLDER = "objects"
TRUST_FILE = "trust/trust.json"
KEYS_FOLDER = "trust/keys"
# One line a table, a tenant, a key file and a missing object.
_MAX_MANIFEST_BYTES = 16 * 1024**2
_VERSION = re.compile(r"[a-z0-9_]{1,64}")
_PATH = re.compile(r"[a-z][a-z0-9_]*(/[a-z][a-z0-9_]*)*\.(dump|json|jsonl|pem)")
_TEXT = re.compile(r"[ -~]{1,1024}")
_Fact = TypeVar("_Fact")


@dataclass(frozen=True)
class FileFacts:
    """What a file must be."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class TenantHead:
    """The newest event of a tenant's chain, as the dump holds it."""

    seq: int
    hash: str


@dataclass(frozen=True)
class MissingObject:
    """An object that the registry names and the backup does not hold, or holds no more as it was."""

    key: str
    reason: str


@dataclass(frozen=True)
class BackupManifest:
    """What a backup holds. `files` are all but the objects, which the file `objects.jsonl` lists one a line.

    `missing` names the first of the `missing_count` objects that should be there and are not.
    """

    created_at: datetime
    schema_version: str
    timeline: int
    heads: Mapping[str, TenantHead]
    rows: Mapping[str, int]
    files: Mapping[str, FileFacts]
    object_count: int
    object_bytes: int
    with_keys: bool
    missing_count: int = 0
    missing: tuple[MissingObject, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether every object that the registry names is in the backup, with the content that its key promises."""
        return self.missing_count == 0

    @property
    def size_bytes(self) -> int:
        """The whole backup, but for the manifest."""
        return self.object_bytes + sum(facts.size_bytes for facts in self.files.values())

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of the file."""
        return canonical_bytes(
            {
                "created_at": format_time(self.created_at),
                "files": {path: vars(facts) for path, facts in self.files.items()},
                "format": BACKUP_FORMAT,
                "heads": {tenant: vars(head) for tenant, head in self.heads.items()},
                "missing_count": self.missing_count,
                "missing": [vars(missing) for missing in self.missing],
                "object_bytes": self.object_bytes,
                "object_count": self.object_count,
                "rows": dict(self.rows),
                "schema_version": self.schema_version,
                "timeline": self.timeline,
                "with_keys": self.with_keys,
            }
        )


def read_manifest(folder: Path) -> BackupManifest:
    """Read the manifest of a backup.

    Raises:
        BackupDamagedError: there is none, or it is not one of ours.
    """
    path = folder / MANIFEST_NAME
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise BackupDamagedError(folder, f"no backup, {MANIFEST_NAME} cannot be read ({error.strerror})") from error
    try:
        return _parse(Fields(parse_document(data, what="manifest", max_bytes=_MAX_MANIFEST_BYTES), what="manifest"))
    except MalformedError as error:
        raise BackupDamagedError(path, str(error)) from error


def _parse(fields: Fields) -> BackupManifest:
    fields.equal("format", BACKUP_FORMAT)
    manifest = BackupManifest(
        created_at=fields.time("created_at"),
        schema_version=fields.text("schema_version", _VERSION),
        timeline=fields.integer("timeline", low=1),
        heads=_mapping(fields, "heads", _parse_head),
        rows=_mapping(fields, "rows", _parse_count),
        files=_mapping(fields, "files", _parse_facts),
        object_count=fields.integer("object_count"),
        object_bytes=fields.integer("object_bytes"),
        with_keys=fields.boolean("with_keys"),
        missing_count=fields.integer("missing_count"),
        missing=fields.items("missing", _parse_missing),
    )
    fields.close()
    if not all(_PATH.fullmatch(path) for path in manifest.files):
        fields.refuse("files")
    if not {MORPH_DUMP, DAGSTER_DUMP, OBJECTS_INDEX} <= manifest.files.keys():
        fields.refuse("files")
    return manifest


def _mapping(fields: Fields, key: str, read: Callable[[Any], _Fact]) -> dict[str, _Fact]:
    return {name: read(value) for name, value in fields.nested(key).rest().items()}


def _parse_head(document: Any) -> TenantHead:
    fields = Fields(document, what="manifest.heads")
    head = TenantHead(fields.integer("seq"), fields.digest("hash"))
    fields.close()
    return head


def _parse_facts(document: Any) -> FileFacts:
    fields = Fields(document, what="manifest.files")
    facts = FileFacts(fields.integer("size_bytes"), fields.digest("sha256"))
    fields.close()
    return facts


def _parse_missing(document: Any) -> MissingObject:
    fields = Fields(document, what="manifest.missing")
    missing = MissingObject(fields.text("key", _TEXT), fields.text("reason", _TEXT))
    fields.close()
    return missing


def _parse_count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise MalformedError("manifest.rows", "a number of rows is an integer")
    return value
