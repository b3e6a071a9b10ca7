"""Brings a saved platform back into an empty place, on a timeline of its own."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from morph_assets.archive.errors import BackupError, PlaceTakenError
from morph_assets.archive.journal import claim_timeline
from morph_assets.archive.manifest import BackupManifest
from morph_assets.config import PlatformFolders, read_config, read_external
from morph_assets.connections import Connections
from morph_assets.devservices.home import (
    fill_home,
    is_home,
    make_home,
    require_purgeable,
    require_supported_platform,
    this_platform,
)
from morph_assets.devservices.launch import stop_running
from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.locks import exclusive
from morph_assets.devservices.servers import Ports
from morph_assets.progress import Progress
from morph_assets.usecases.find_operator_access import embedded_access, find_operator_access
from morph_assets.usecases.load_backup import load_backup
from morph_assets.usecases.prepare_dagster import prepare_dagster
from morph_assets.usecases.relay_indexes import relay_indexes
from morph_assets.usecases.start_platform import LOCK_TIMEOUT_S, read_home_passwords, start_platform, start_servers
from morph_assets.usecases.verify_backup import verify_backup
from morph_kernels.durable_file import flush
from morph_kernels.store import open_store
from morph_kernels.store.keys import timeline_of


@dataclass(frozen=True)
class RestoredPlatform:
    """What was restored, from which moment, and what loaders were told anew."""

    manifest: BackupManifest
    timeline: int
    with_keys: bool
    published: tuple[str, ...]


def restore_platform(
    folders: PlatformFolders,
    source: Path,
    progress: Progress,
    *,
    tenant: str,
    with_keys: bool = False,
    timeline: int | None = None,
) -> RestoredPlatform:
    """Restore a backup into an empty home, or into empty production servers, and publish every index anew.

    The whole backup is verified before anything is changed. A home appears whole or not at all, and is up afterwards.
    Without the private keys nothing can be signed: what the backup's own indexes name can be loaded until they expire.

    Args:
        folders: where to; the home must be missing or empty.
        source: the backup's folder.
        progress: opens a bar, `progress(text, total=)`, which is told `advance(count)`.
        tenant: whose logins `endpoints.json` names afterwards.
        with_keys: restore the private keys too; the backup must hold them.
        timeline: the number of the new timeline; by default one above all known ones.

    Raises:
        BackupDamagedError: the backup is not whole; nothing was changed.
        PlaceTakenError: something is there already; it stays as it is.
    """
    source = source.expanduser().absolute()
    is_production = read_external().is_production
    if not is_production:
        require_supported_platform(this_platform())
        _require_empty(folders.home)
    manifest = verify_backup(source, progress)
    if with_keys and not manifest.with_keys:
        raise BackupError(f"{source} holds no private keys: it was made without --with-keys")
    if timeline is not None and timeline <= manifest.timeline:
        raise BackupError(f"timeline {timeline} is not above the backup's own, {manifest.timeline}")
    chosen = _Choice(source, manifest, progress, tenant, with_keys, timeline)
    return _restore_servers(folders, chosen) if is_production else _restore_home(folders, chosen)


@dataclass(frozen=True)
class _Choice:
    source: Path
    manifest: BackupManifest
    progress: Progress
    tenant: str
    with_keys: bool
    timeline: int | None

    def claim(self, known: Iterable[int] = ()) -> int:
        above = max([self.manifest.timeline, *known])
        return claim_timeline(self.source, above=above) if self.timeline is None else self.timeline

    def outcome(self, timeline: int, published: tuple[str, ...]) -> RestoredPlatform:
        return RestoredPlatform(self.manifest, timeline, self.with_keys, published)


def _restore_servers(folders: PlatformFolders, chosen: _Choice) -> RestoredPlatform:
    access = find_operator_access(folders)
    # A store that outlived its registry knows timelines that the backup cannot.
    listed = open_store(access.store_url).list_objects("")
    timeline = chosen.claim(number for info in listed if (number := timeline_of(info.key)) is not None)
    load_backup(access, chosen.source, chosen.manifest, chosen.progress, timeline=timeline, with_keys=chosen.with_keys)
    if not chosen.with_keys:
        return chosen.outcome(timeline, ())
    with Connections.open() as connections:
        return chosen.outcome(timeline, relay_indexes(connections).names)


def _restore_home(folders: PlatformFolders, chosen: _Choice) -> RestoredPlatform:
    draft = folders.home.with_name(f"{folders.home.name}.new")
    _remove_left(draft)
    keys_dir = folders.keys_dir
    if keys_dir.is_relative_to(folders.home):
        keys_dir = draft / keys_dir.relative_to(folders.home)
    layout = make_home(draft)
    with exclusive(draft, timeout_s=LOCK_TIMEOUT_S):
        try:
            fill_home(layout)
            _, ports = start_servers(layout, Ports(), read_home_passwords(layout), meanwhile=lambda: None)
            access = embedded_access(layout, ports, keys_dir=keys_dir)
            timeline = chosen.claim()
            load_backup(
                access, chosen.source, chosen.manifest, chosen.progress, timeline=timeline, with_keys=chosen.with_keys
            )
            stop_running(layout)
            _take_place(draft, folders.home)
        finally:
            if draft.exists():
                stop_running(layout)
                shutil.rmtree(draft)
    return chosen.outcome(timeline, _open_home(folders, chosen))


def _open_home(folders: PlatformFolders, chosen: _Choice) -> tuple[str, ...]:
    """Start the restored home, make the logins of its tenants, and publish their indexes where keys are there."""
    published: list[str] = []
    for tenant in (*sorted(chosen.manifest.heads.keys() - {chosen.tenant}), chosen.tenant):
        start_platform(folders, tenant=tenant)
        if chosen.with_keys:
            environment = {
                "MORPH_HOME": str(folders.home),
                "MORPH_KEYS_DIR": str(folders.keys_dir),
                "MORPH_TENANT": tenant,
            }
            with Connections.open(read_config(environment, start=folders.project)) as connections:
                published += relay_indexes(connections).names
    prepare_dagster(folders)
    return tuple(published)


def _require_empty(home: Path) -> None:
    if home.is_symlink() or (home.exists() and (not home.is_dir() or next(home.iterdir(), None) is not None)):
        raise PlaceTakenError(home, "restore into a new MORPH_HOME, or `morph down --purge` first")


def _remove_left(draft: Path) -> None:
    """Remove what a killed restore left, its servers first."""
    if not draft.exists():
        return
    if is_home(draft):
        require_purgeable(draft)
        stop_running(HomeLayout(draft))
        shutil.rmtree(draft)
    elif next(draft.iterdir(), None) is not None:
        raise PlaceTakenError(draft, "remove it, the restore needs this name")


def _take_place(draft: Path, home: Path) -> None:
    try:
        draft.rename(home)  # an empty folder gives way to it, another one does not
    except OSError as error:
        raise PlaceTakenError(home, "something was put there meanwhile") from error
    flush(home.parent)
