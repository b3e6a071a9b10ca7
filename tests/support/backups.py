"""Platforms of their own that are saved and restored, and what their catalogs say."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from morph_assets.config import PlatformFolders
from morph_assets.devservices.launch import stop_running
from morph_assets.devservices.layout import HomeLayout
from morph_assets.usecases.backup_platform import Backup, backup_platform
from morph_assets.usecases.restore_platform import RestoredPlatform, restore_platform
from morph_assets.usecases.start_platform import start_platform
from tests.support.compiled_project import open_project, share_headers
from tests.support.kernels import KernelBuilder
from tests.support.platform import TestPlatform
from tests.support.services import folders_of


@contextmanager
def unseen_progress(_description: str, *, total: int | None = None) -> Iterator[Any]:
    """A progress bar that nobody looks at."""
    del total
    yield lambda *_: None


def save(folders: PlatformFolders, destination: Path, **options) -> Backup:
    """Back a running platform up."""
    return backup_platform(folders, destination, unseen_progress, **options)


def restore(folders: PlatformFolders, source: Path, **options) -> RestoredPlatform:
    """Restore a backup into a home."""
    return restore_platform(folders, source, unseen_progress, tenant="default", **options)


@contextmanager
def project() -> Iterator[Path]:
    """A folder for projects with short paths; whatever servers run in it are stopped afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="morph-", dir="/tmp"))
    try:
        yield folder
    finally:
        for home in {path.parent for path in folder.rglob("supervisor.lock")}:
            stop_running(HomeLayout(home))
        shutil.rmtree(folder)


def home_in(project_folder: Path, name: str) -> PlatformFolders:
    """Return the folders of a home in a project folder of its own."""
    (project_folder / name).mkdir(exist_ok=True)
    return folders_of(project_folder / name / ".morph")


@pytest.fixture(scope="module")
def saved_project(compiled: KernelBuilder, kernel_cache: Path) -> Iterator[tuple[Path, Backup]]:
    """A folder with the running platform `first`, a published kernel in it, and its backup, with keys."""
    with project() as folder:
        folders = home_in(folder, "first")
        start_platform(folders, tenant="default")
        share_headers(folders.project, kernel_cache)
        with open_project(folders.project) as platform:
            TestPlatform(platform, platform.connections.config, compiled).published("ffn_gelu")
        (folder / "backups").mkdir()
        yield folder, save(folders, folder / "backups" / "whole", with_keys=True)


def catalog(url: str) -> list[tuple[Any, ...]]:
    """Everything that says whose things are and who may do what, in one database.

    Rights that are the default are the same whether they were written down or not: a dump does not.
    """
    with psycopg.connect(url) as connection:
        return connection.execute(
            """SELECT 'relation', c.relname::text, pg_get_userbyid(c.relowner)::text,
                      coalesce(c.relacl, acldefault('r', c.relowner))::text,
                      c.relrowsecurity::text || c.relforcerowsecurity::text
               FROM pg_class c WHERE c.relnamespace = 'morph'::regnamespace
               UNION ALL SELECT 'function', p.oid::regprocedure::text, pg_get_userbyid(p.proowner)::text,
                                coalesce(p.proacl, acldefault('f', p.proowner))::text,
                                concat_ws(' ', p.prosecdef, p.proconfig, p.prosrc)
               FROM pg_proc p WHERE p.pronamespace = 'morph'::regnamespace
               UNION ALL SELECT 'policy', concat_ws(' ', tablename, policyname), roles::text, cmd, qual
               FROM pg_policies WHERE schemaname = 'morph'
               UNION ALL SELECT 'trigger', tgname::text, tgrelid::regclass::text, pg_get_triggerdef(oid),
                                tgenabled::text
               FROM pg_trigger WHERE NOT tgisinternal
               UNION ALL SELECT 'constraint', conname::text, conrelid::regclass::text, pg_get_constraintdef(oid), ''
               FROM pg_constraint WHERE connamespace = 'morph'::regnamespace
               UNION ALL SELECT 'index', indexname::text, tablename::text, indexdef, '' FROM pg_indexes
               WHERE schemaname = 'morph'
               UNION ALL SELECT 'schema', nspname::text, pg_get_userbyid(nspowner)::text,
                                coalesce(nspacl, acldefault('n', nspowner))::text, ''
               FROM pg_namespace WHERE nspname = 'morph'
               UNION ALL SELECT 'default', defaclobjtype::text, pg_get_userbyid(defaclrole)::text, defaclacl::text, ''
               FROM pg_default_acl
               UNION ALL SELECT 'extension', extname::text, '', '', extversion FROM pg_extension
               UNION ALL SELECT 'database', '', pg_get_userbyid(datdba)::text, datacl::text, '' FROM pg_database
               WHERE datname = current_database()
               ORDER BY 1, 2, 3, 4, 5"""
        ).fetchall()


def files_of(folder: Path) -> dict[Path, bytes]:
    """Return everything below the folder, by its place."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
