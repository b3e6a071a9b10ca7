"""A platform of an older version: upgraded in place behind a backup, or restored by a newer one."""

import json
import shutil
import stat
from pathlib import Path

import psycopg
import pytest

from morph_assets.archive.dump import load_database
from morph_assets.archive.manifest import read_manifest
from morph_assets.devservices.binaries import postgres_binary
from morph_assets.devservices.errors import ServicesError
from morph_assets.devservices.home import fill_home, make_home
from morph_assets.devservices.servers import Ports
from morph_assets.registry.migrate import OWNER
from morph_assets.registry.restoring import opened_for_dump
from morph_assets.registry.schema_versions import known_versions
from morph_assets.usecases.find_operator_access import find_operator_access
from morph_assets.usecases.start_platform import read_home_passwords, start_servers
from morph_assets.usecases.stop_platform import stop_platform
from morph_assets.usecases.upgrade_platform import UpgradeFailedError, upgrade_platform
from morph_assets.usecases.verify_backup import verify_backup
from morph_kernels.artifact.trust import create_trust
from tests.support.backups import home_in, project, restore, unseen_progress
from tests.support.command_line import run_morph
from tests.support.compiled_project import open_project

pytestmark = pytest.mark.slow

# Written by the first release, and never again: what is in it has to stay readable.
OLD = Path(__file__).parents[1] / "support" / "old_backups" / "v0002"


def upgrade(folders):
    return upgrade_platform(folders, unseen_progress, tenant="default")


@pytest.fixture
def old_home():
    """A running home as the first release left it."""
    with project() as folder:
        folders = home_in(folder, "old")
        layout = make_home(folders.home)
        fill_home(layout)
        create_trust(layout.trust_dir)
        layout.schema_stamp.write_text('{"default": "of an older version"}')
        start_servers(layout, Ports(), read_home_passwords(layout), meanwhile=lambda: None)
        access = find_operator_access(folders)
        load_database(postgres_binary("pg_restore"), access.dagster_url, OLD / "dagster.dump")
        with opened_for_dump(access.morph_url):
            load_database(postgres_binary("pg_restore"), access.morph_url, OLD / "morph.dump", role=OWNER)
        yield folders


def require_everything(folders):
    """What the first release knew, seen by this one."""
    with open_project(folders.project) as platform:
        assert platform.verify_audit().holds
        (release,) = platform.list_blueprints()
        assert (release.name, release.state, list(release.aliases)) == ("ffn_gelu", "PUBLISHED", ["production"])
        assert sorted(kernel.state for kernel in platform.list_kernels()) == ["PUBLISHED", "REJECTED"]
        assert platform.counts().builds["built"] == 2


def test_an_older_platform_is_upgraded_behind_a_backup(old_home):
    done = upgrade(old_home)
    assert (done.from_version, done.to_version, done.events) == ("v0002", known_versions()[0], 11)
    require_everything(old_home)
    assert verify_backup(done.backup.folder, unseen_progress).schema_version == "v0002"
    assert stat.S_IMODE(done.backup.folder.parent.stat().st_mode) == 0o700


def test_a_stopped_platform_is_started_for_it_and_a_second_time_changes_nothing(old_home):
    stop_platform(old_home)
    upgrade(old_home)
    again = upgrade(old_home)
    assert again.from_version == again.to_version
    require_everything(old_home)
    assert len(list((old_home.home / "backups").iterdir())) == 2


def test_the_way_back_is_said_and_leads_back(old_home):
    with psycopg.connect(find_operator_access(old_home).morph_url) as connection:
        connection.execute("UPDATE morph.schema_version SET version_num = 'v9999'")
    ran = run_morph("upgrade", cwd=old_home.project, home=old_home.home)
    assert ran.returncode == 1
    assert "does not know" in ran.stderr
    backup = Path(ran.stderr.strip().rpartition(" ")[2])
    assert f"morph restore {backup}" in ran.stderr
    assert read_manifest(backup).heads == read_manifest(OLD).heads


@pytest.mark.parametrize(
    ("loss", "problem"),
    [
        ("DELETE FROM morph.attestation WHERE kind = 'verification'", "rows of attestation"),
        ("UPDATE morph.event SET actor = 'somebody' WHERE seq = 4", "breaks at event 4"),
    ],
)
def test_a_migration_that_loses_something_is_found(old_home, loss, problem):
    # A migration's damage, done the moment the schema's version is written.
    with psycopg.connect(find_operator_access(old_home).morph_url) as connection:
        connection.execute(f"""
            CREATE FUNCTION public.damage() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
                SET session_replication_role = replica AS $$ BEGIN {loss}; RETURN NULL; END $$;
            CREATE TRIGGER damage AFTER UPDATE ON morph.schema_version EXECUTE FUNCTION public.damage()""")
    with pytest.raises(UpgradeFailedError, match=problem):
        upgrade(old_home)


def test_a_newer_version_restores_an_older_backup(tmp_path):
    with project() as folder:
        folders = home_in(folder, "new")
        shutil.copytree(OLD, tmp_path / "saved")
        restore(folders, tmp_path / "saved")
        require_everything(folders)


def test_where_no_platform_is_nothing_is_made(tmp_path):
    folders = home_in(tmp_path, "empty")
    with pytest.raises(ServicesError, match="morph up"):
        upgrade(folders)
    assert list(folders.project.iterdir()) == []


def test_the_command_says_what_it_did(old_home):
    ran = run_morph("upgrade", "--json", cwd=old_home.project, home=old_home.home)
    assert ran.returncode == 0, ran.stderr
    facts = json.loads(ran.stdout)
    assert (facts["from_version"], facts["events"]) == ("v0002", 11)
    assert Path(facts["backup"], "manifest.json").is_file()
