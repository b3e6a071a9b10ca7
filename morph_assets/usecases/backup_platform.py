"""Saves the whole platform into one folder while it works: databases, objects, trust, and the manifest last."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from morph_assets.archive.dump import dump_database
from morph_assets.archive.errors import BackupError
from morph_assets.archive.folder import flush_tree, measure_file, open_draft
from morph_assets.archive.manifest import (
    DAGSTER_DUMP,
    KEYS_FOLDER,
    MANIFEST_NAME,
    MORPH_DUMP,
    OBJECTS_INDEX,
    TRUST_FILE,
    BackupManifest,
    FileFacts,
    MissingObject,
    TenantHead,
)
from morph_assets.archive.objects import SavedObjects, save_objects
from morph_assets.config import PlatformFolders
from morph_assets.devservices.binaries import postgres_binary
from morph_assets.progress import Progress
from morph_assets.registry.migrate import OWNER
from morph_assets.registry.snapshot import RegistrySnapshot, open_snapshot
from morph_assets.usecases.find_operator_access import OperatorAccess, find_operator_access
from morph_kernels.artifact.roles import Role
from morph_kernels.durable_file import write_private
from morph_kernels.store import open_store

_STORE_TIMEOUT_S = 30.0
_MISSING_NAMED = 1000


@dataclass(frozen=True)
class Backup:
    """A whole backup and where it is."""

    folder: Path
    manifest: BackupManifest


def backup_platform(
    folders: PlatformFolders, destination: Path, progress: Progress, *, with_keys: bool = False
) -> Backup:
    """Write a backup under a name that is free; it appears whole or not at all.

    Each database is of one moment, Dagster's the earlier: what it knows, the registry knows too. The objects are copied
    last: they never change, so all that the registry names is there by then.

    Args:
        folders: whose platform.
        destination: a folder that is not there yet, or an empty one.
        progress: opens a bar, `progress(text, total=)`, which is told `advance(count)`.
        with_keys: save the private keys too, mode 0600: whoever holds the backup can then sign as this platform.

    Raises:
        PlaceTakenError: something stands at the destination.
        BackupError: a part of it failed; nothing is left.
        ServicesError: the servers do not run.
    """
    access = find_operator_access(folders)
    destination = destination.expanduser().absolute()
    with open_draft(destination) as draft:
        created_at = datetime.now(UTC)
        snapshot, named = _save_databases(access, draft, progress)
        saved = _save_objects(access, draft, progress)
        _save_trust(access, draft, with_keys=with_keys)
        flush_tree(draft)
        manifest = _describe(draft, snapshot, saved, named - saved.keys, created_at, with_keys=with_keys)
        write_private(draft / MANIFEST_NAME, manifest.to_bytes())
    return Backup(destination, manifest)


def _save_databases(access: OperatorAccess, draft: Path, progress: Progress) -> tuple[RegistrySnapshot, set[str]]:
    """Dump both; return the moment of the registry's, and the keys of the objects that it names then."""
    program = postgres_binary("pg_dump")
    with progress("saving databases", total=2) as advance:
        dump_database(program, access.dagster_url, draft / DAGSTER_DUMP)
        advance(1)
        with open_snapshot(access.morph_url) as snapshot:
            seen = snapshot.exported_id
            dump_database(program, access.morph_url, draft / MORPH_DUMP, role=OWNER, snapshot=seen)
            named = set(snapshot.iter_object_keys())
        advance(1)
    return snapshot, named


def _save_objects(access: OperatorAccess, draft: Path, progress: Progress) -> SavedObjects:
    store = open_store(access.store_url, timeout_s=_STORE_TIMEOUT_S)
    listed = list(store.list_objects(""))
    with progress("saving objects", total=len(listed)) as advance:
        return save_objects(store, listed, draft, advance)


def _save_trust(access: OperatorAccess, draft: Path, *, with_keys: bool) -> None:
    if access.trust_file is not None and access.trust_file.is_file():
        (draft / TRUST_FILE).parent.mkdir(mode=0o700)
        write_private(draft / TRUST_FILE, access.trust_file.read_bytes())
    if not with_keys:
        return
    found = [path for role in Role if (path := access.keys_dir / f"{role}.pem").is_file()]
    if not found:
        raise BackupError(f"{access.keys_dir} holds no private keys: name their folder in MORPH_KEYS_DIR")
    (draft / KEYS_FOLDER).mkdir(mode=0o700, parents=True)
    for path in found:
        write_private(draft / KEYS_FOLDER / path.name, path.read_bytes())


def _describe(
    draft: Path,
    snapshot: RegistrySnapshot,
    saved: SavedObjects,
    absent: set[str],
    created_at: datetime,
    *,
    with_keys: bool,
) -> BackupManifest:
    reasons = {damaged.key: damaged.reason for damaged in saved.damaged}
    named = {key: reasons.get(key, "the store does not hold it") for key in absent} | reasons
    return BackupManifest(
        created_at=created_at,
        schema_version=snapshot.schema_version,
        timeline=snapshot.timeline,
        heads={tenant: TenantHead(head.seq, head.hash.hex()) for tenant, head in snapshot.heads.items()},
        rows=snapshot.rows,
        files=_measure_files(draft),
        object_count=len(saved.keys),
        object_bytes=saved.size_bytes,
        with_keys=with_keys,
        missing_count=len(named),
        missing=tuple(MissingObject(key, named[key]) for key in sorted(named)[:_MISSING_NAMED]),
    )


def _measure_files(draft: Path) -> dict[str, FileFacts]:
    paths = [draft / MORPH_DUMP, draft / DAGSTER_DUMP, draft / OBJECTS_INDEX, *sorted(draft.glob("trust/**/*"))]
    return {str(path.relative_to(draft)): measure_file(path) for path in paths if path.is_file()}
