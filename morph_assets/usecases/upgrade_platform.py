"""Brings the registry to this version's schema, behind a backup, and checks that everything is still there."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from morph_assets.archive.manifest import BackupManifest
from morph_assets.config import PlatformFolders, read_external
from morph_assets.devservices.errors import ServicesError
from morph_assets.devservices.home import is_home
from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.locks import exclusive
from morph_assets.devservices.servers import Ports
from morph_assets.progress import Progress
from morph_assets.registry.events import ChainHead
from morph_assets.registry.migrate import migrate
from morph_assets.registry.schema_versions import known_versions
from morph_assets.registry.snapshot import open_snapshot
from morph_assets.registry.timelines import find_break
from morph_assets.usecases.backup_platform import Backup, backup_platform
from morph_assets.usecases.find_operator_access import OperatorAccess, find_operator_access
from morph_assets.usecases.prepare_dagster import prepare_dagster
from morph_assets.usecases.start_platform import LOCK_TIMEOUT_S, read_home_passwords, start_platform, start_servers
from morph_kernels.errors import MorphError

# Never fewer of these after an upgrade: they are only written, or go when somebody purges them.
_KEPT = (
    "tenant",
    "event",
    "blueprint_release",
    "kernel",
    "build",
    "report",
    "attestation",
    "alias_history",
    "checkpoint",
    "checkpoint_blob",
    "blob_location",
)


class UpgradeFailedError(MorphError):
    """The upgrade did not go through; the message says how to go back."""

    def __init__(self, problem: str, backup: Path) -> None:
        super().__init__(
            f"the upgrade failed: {problem}. Everything as it was before is in {backup}. To go back, install the "
            f"version that you came from and restore into an empty place: MORPH_HOME=<folder> morph restore {backup}"
        )
        self.backup = backup


@dataclass(frozen=True)
class UpgradedPlatform:
    """From which schema to which, with how many events carried over, and the backup from before."""

    backup: Backup
    from_version: str
    to_version: str
    events: int


def upgrade_platform(folders: PlatformFolders, progress: Progress, *, tenant: str) -> UpgradedPlatform:
    """Back up, migrate, check; with nothing to migrate it still leaves a backup.

    The embedded servers are started if they do not run, and are up afterwards. Their backup holds the private keys,
    which lie in the same home.

    Raises:
        UpgradeFailedError: migrating or checking failed.
        ServicesError: there is no platform here.
        BackupError: the backup failed; nothing was changed.
    """
    is_embedded = not read_external().is_production
    layout = HomeLayout(folders.home)
    if is_embedded:
        _start(layout)
    access = find_operator_access(folders)
    layout.backups.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = layout.backups / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
    backup = backup_platform(folders, place, progress, with_keys=is_embedded)
    newest = known_versions()[0]
    try:
        with progress("migrating and checking", total=2) as advance:
            migrate(access.morph_url)
            advance(1)
            problem = _find_problem(access, backup.manifest, newest)
            advance(1)
    except MorphError as error:
        raise UpgradeFailedError(str(error), backup.folder) from error
    if problem is not None:
        raise UpgradeFailedError(problem, backup.folder)
    if is_embedded:
        start_platform(folders, tenant=tenant)
        prepare_dagster(folders)
    events = sum(head.seq for head in backup.manifest.heads.values())
    return UpgradedPlatform(backup, backup.manifest.schema_version, newest, events)


def _start(layout: HomeLayout) -> None:
    """Start the servers and leave their schema as it is."""
    if not is_home(layout.home) or not layout.schema_stamp.exists():
        raise ServicesError(f"there is no platform in {layout.home} to upgrade: `morph up` makes a new one")
    with exclusive(layout.home, timeout_s=LOCK_TIMEOUT_S):
        start_servers(layout, Ports(), read_home_passwords(layout), meanwhile=lambda: None)


def _find_problem(access: OperatorAccess, before: BackupManifest, newest: str) -> str | None:
    """Return what is not as it should be; a working platform may have gained rows and events meanwhile."""
    with open_snapshot(access.morph_url) as after:
        version, rows = after.schema_version, after.rows
    if version != newest:
        return f"the schema is {version}, not {newest}"
    for table in _KEPT:
        if rows.get(table, 0) < before.rows.get(table, 0):
            return f"{before.rows[table]} rows of {table} were there, now {rows.get(table, 0)}"
    for tenant, head in before.heads.items():
        broken = find_break(access.morph_url, tenant, ChainHead(head.seq, bytes.fromhex(head.hash)))
        if broken is not None:
            return f"the chain of tenant {tenant} breaks at event {broken}"
    return None
