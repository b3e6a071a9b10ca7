"""Copies of stored objects in a folder, and their index: one canonical JSON line an object, in the order of keys."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from morph_assets.archive.errors import BackupDamagedError, BackupError
from morph_assets.archive.folder import measure_file
from morph_assets.archive.manifest import OBJECTS_FOLDER, OBJECTS_INDEX, FileFacts, MissingObject
from morph_kernels.artifact.bundle import decode_bundle
from morph_kernels.artifact.document import Fields, MalformedError, parse_document
from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.identity import ObjectKey
from morph_kernels.store import ObjectInfo, ObjectNotFoundError, ObjectStore, ObjectTruncatedError
from morph_kernels.store.keys import InvalidKeyError, content_of, parse_key

_CHUNK_BYTES = 8 * 1024**2
_MAX_LINE_BYTES = 4096
Advance = Callable[[int], object]


@dataclass(frozen=True)
class SavedObject:
    """One line of the index."""

    key: ObjectKey
    facts: FileFacts

    def to_line(self) -> bytes:
        """Return the line with its end."""
        document = {"key": self.key, "sha256": self.facts.sha256, "size_bytes": self.facts.size_bytes}
        return canonical_bytes(document) + b"\n"


@dataclass(frozen=True)
class SavedObjects:
    """What was copied, and what could not be."""

    keys: frozenset[str]
    size_bytes: int
    damaged: tuple[MissingObject, ...]


def save_objects(store: ObjectStore, listed: Iterable[ObjectInfo], folder: Path, advance: Advance) -> SavedObjects:
    """Copy the listed objects into a backup's folder and write its index.

    An object whose key says what its content must be is compared with it; what does not fit, or was deleted since the
    listing, is left out and reported.
    """
    keys, size_bytes, damaged = set[str](), 0, list[MissingObject]()
    with (folder / OBJECTS_INDEX).open("xb") as index:
        for info in sorted(listed, key=lambda info: info.key):
            path = folder / OBJECTS_FOLDER / info.key
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            problem = _save(store, info, path)
            if problem is None:
                facts = measure_file(path)
                index.write(SavedObject(info.key, facts).to_line())
                keys.add(info.key)
                size_bytes += facts.size_bytes
            else:
                path.unlink(missing_ok=True)
                damaged.append(MissingObject(info.key, problem))
            advance(1)
    return SavedObjects(frozenset(keys), size_bytes, tuple(damaged))


def iter_saved(folder: Path) -> Iterator[SavedObject]:
    """Yield the lines of a backup's index.

    Raises:
        BackupDamagedError: a line is not one of ours.
    """
    path = folder / OBJECTS_INDEX
    with path.open("rb") as file:
        while line := file.readline(_MAX_LINE_BYTES + 2):  # so that a longer one shows as such
            try:
                fields = Fields(parse_document(line[:-1], what="line", max_bytes=_MAX_LINE_BYTES), what="line")
                saved = SavedObject(
                    parse_key(fields.take("key")), FileFacts(fields.integer("size_bytes"), fields.digest("sha256"))
                )
                fields.close()
            except (MalformedError, InvalidKeyError) as error:
                raise BackupDamagedError(path, str(error)) from error
            yield saved


def load_objects(folder: Path, store: ObjectStore, advance: Advance) -> None:
    """Put a backup's objects into a store; one that is there already must have the same bytes.

    Raises:
        BackupDamagedError: a copy is not what the index says.
        BackupError: the store has another object under the same key.
    """
    for saved in iter_saved(folder):
        path = folder / OBJECTS_FOLDER / saved.key
        with path.open("rb") as file:
            data = file.read(saved.facts.size_bytes + 1)
        if sha256_hex(data) != saved.facts.sha256:
            raise BackupDamagedError(path, "its bytes are not those that were saved")
        if not store.put_if_absent(saved.key, data) and _digest_in(store, saved) != saved.facts.sha256:
            raise BackupError(f"the store holds another object as {saved.key}: restore into an empty one")
        advance(1)


def _save(store: ObjectStore, info: ObjectInfo, path: Path) -> str | None:
    """Copy one object; return what is wrong with it, or None."""
    try:
        with path.open("xb") as file:
            for offset in range(0, info.size_bytes, _CHUNK_BYTES):
                length = min(_CHUNK_BYTES, info.size_bytes - offset)
                file.write(store.get_range(info.key, offset=offset, length=length))
    except (ObjectNotFoundError, ObjectTruncatedError) as error:
        return str(error)
    return _find_damage(info.key, path)


def _find_damage(key: str, path: Path) -> str | None:
    content = content_of(key)
    if content is None:
        return None
    kind, digest = content
    try:
        found = sha256_hex(decode_bundle(path.read_bytes()).manifest) if kind == "bundle" else measure_file(path).sha256
    except MalformedError as error:
        return str(error)
    return None if found == digest else f"its content has the digest {found}"


def _digest_in(store: ObjectStore, saved: SavedObject) -> str:
    if store.size(saved.key) != saved.facts.size_bytes:
        return ""
    digest = hashlib.sha256()
    for offset in range(0, saved.facts.size_bytes, _CHUNK_BYTES):
        length = min(_CHUNK_BYTES, saved.facts.size_bytes - offset)
        digest.update(store.get_range(saved.key, offset=offset, length=length))
    return digest.hexdigest()
