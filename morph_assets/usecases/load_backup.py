"""Fills empty servers from a verified backup, and proves that they hold what was saved before a new timeline begins."""

from collections.abc import Sequence
from pathlib import Path

from morph_assets.archive.dump import load_database
from morph_assets.archive.errors import BackupDamagedError, PlaceTakenError
from morph_assets.archive.manifest import (
    DAGSTER_DUMP,
    KEYS_FOLDER,
    MORPH_DUMP,
    TRUST_FILE,
    BackupManifest,
    TenantHead,
)
from morph_assets.archive.objects import load_objects
from morph_assets.devservices.binaries import postgres_binary
from morph_assets.progress import Progress
from morph_assets.registry.databases import is_empty
from morph_assets.registry.events import ChainHead
from morph_assets.registry.migrate import OWNER, migrate
from morph_assets.registry.restoring import opened_for_dump
from morph_assets.registry.snapshot import open_snapshot
from morph_assets.registry.timelines import find_break, start_timeline
from morph_assets.usecases.find_operator_access import OperatorAccess
from morph_kernels.durable_file import create_file
from morph_kernels.store import open_store

_STORE_TIMEOUT_S = 30.0


def load_backup(
    access: OperatorAccess,
    folder: Path,
    manifest: BackupManifest,
    progress: Progress,
    *,
    timeline: int,
    with_keys: bool,
) -> None:
    """Load everything, compare it with the manifest, bring the schema to its newest version and begin the timeline.

    Raises:
        PlaceTakenError: a database is not empty, or other keys stand where these would go; nothing was changed.
        BackupDamagedError: what was loaded is not what the manifest says.
        MorphError: a server refused; the message says which.
    """
    keys = _saved_keys(folder, manifest) if with_keys else []
    _require_free(access, keys)
    with progress("restoring objects", total=manifest.object_count) as advance:
        load_objects(folder, open_store(access.store_url, timeout_s=_STORE_TIMEOUT_S), advance)
    _load_trust(access, folder, manifest, keys)
    with progress("restoring databases", total=4) as advance:
        load_database(postgres_binary("pg_restore"), access.dagster_url, folder / DAGSTER_DUMP)
        advance(1)
        with opened_for_dump(access.morph_url):
            load_database(postgres_binary("pg_restore"), access.morph_url, folder / MORPH_DUMP, role=OWNER)
        advance(1)
        _require_same(access, folder, manifest)
        advance(1)
        migrate(access.morph_url)
        _require_chains(access, folder, manifest)
        advance(1)
    start_timeline(access.morph_url, timeline, saved_at=manifest.created_at)


def _saved_keys(folder: Path, manifest: BackupManifest) -> list[Path]:
    """Return the keys that were saved: what else lies in their folder, somebody put there since."""
    return [folder / name for name in manifest.files if name.startswith(f"{KEYS_FOLDER}/")]


def _require_free(access: OperatorAccess, keys: Sequence[Path]) -> None:
    for name, url in (("the registry's database", access.morph_url), ("Dagster's database", access.dagster_url)):
        if not is_empty(url):
            raise PlaceTakenError(name, "drop it and create it again, or name another one")
    for saved in keys:
        present = access.keys_dir / saved.name
        if present.exists() and present.read_bytes() != saved.read_bytes():
            raise PlaceTakenError(
                access.keys_dir, f"{saved.name} is another key: name another folder in MORPH_KEYS_DIR"
            )


def _load_trust(access: OperatorAccess, folder: Path, manifest: BackupManifest, keys: Sequence[Path]) -> None:
    """Put the trust file where none is: a host's own may be newer, and is what it believes."""
    saved = folder / TRUST_FILE
    if access.trust_file is not None and TRUST_FILE in manifest.files and not access.trust_file.exists():
        access.trust_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_file(access.trust_file, saved.read_bytes())
    if keys:
        access.keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for key in keys:
        if not (access.keys_dir / key.name).exists():
            create_file(access.keys_dir / key.name, key.read_bytes())


def _require_same(access: OperatorAccess, folder: Path, manifest: BackupManifest) -> None:
    with open_snapshot(access.morph_url) as found:
        heads = {tenant: TenantHead(head.seq, head.hash.hex()) for tenant, head in found.heads.items()}
        if heads != manifest.heads or found.timeline != manifest.timeline:
            raise BackupDamagedError(folder, "the restored chains do not end where the saved ones did")
        different = [table for table, rows in manifest.rows.items() if found.rows.get(table) != rows]
    if different:
        raise BackupDamagedError(folder, f"the restored table {different[0]} has another number of rows")


def _require_chains(access: OperatorAccess, folder: Path, manifest: BackupManifest) -> None:
    for tenant, head in manifest.heads.items():
        broken = find_break(access.morph_url, tenant, ChainHead(head.seq, bytes.fromhex(head.hash)))
        if broken is not None:
            raise BackupDamagedError(folder, f"the chain of tenant {tenant} breaks at event {broken}")
