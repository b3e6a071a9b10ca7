"""What lies in a backup's folder: no secret unless asked for, and nothing damaged that goes unnoticed."""

import json
import shutil
import stat
import subprocess

import psycopg
import pytest

from morph_assets.archive.errors import BackupDamagedError, BackupError
from morph_assets.devservices.binaries import postgres_binary
from morph_assets.devservices.layout import HomeLayout
from morph_assets.usecases.find_operator_access import find_operator_access
from morph_assets.usecases.stop_platform import stop_platform
from morph_assets.usecases.verify_backup import verify_backup
from morph_kernels.artifact.trust import Role
from morph_kernels.canonical import canonical_bytes
from tests.support.backups import files_of, home_in, restore, save, unseen_progress


def test_a_backup_without_keys_holds_no_secret(saved_project):
    folder, _ = saved_project
    first = home_in(folder, "first")
    backup = save(first, folder / "backups" / "public")
    everything = b"".join(files_of(backup.folder).values()) + b"".join(
        subprocess.run([postgres_binary("pg_restore"), "--file=-", path], check=True, capture_output=True).stdout
        for path in backup.folder.glob("*.dump")
    )
    passwords = json.loads(HomeLayout(first.home).secrets_file.read_bytes())["passwords"].values()
    assert len(passwords) > 5
    assert not [password for password in passwords if password.encode() in everything]
    assert b"PRIVATE KEY" not in everything
    assert b"SCRAM-SHA-256" not in everything
    assert b"morph_default_trainer" in everything  # it did look into the dumps
    with pytest.raises(BackupError, match="--with-keys"):
        restore(home_in(folder, "never"), backup.folder, with_keys=True)


def test_a_backup_is_for_its_owner_alone(saved_project):
    _, backup = saved_project
    assert stat.S_IMODE(backup.folder.stat().st_mode) == 0o700
    keys = list((backup.folder / "trust" / "keys").iterdir())
    assert {path.stem for path in keys} == set(Role)
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}


@pytest.mark.parametrize("name", ["morph.dump", "dagster.dump", "objects.jsonl", "trust/trust.json", "an object"])
def test_a_changed_byte_anywhere_is_found_before_anything_is_restored(saved_project, tmp_path, name):
    folder, backup = saved_project
    damaged = tmp_path / "damaged"
    shutil.copytree(backup.folder, damaged)
    path = next(path for path in (damaged / "objects").rglob("*") if path.is_file())
    path = path if name == "an object" else damaged / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    target = home_in(folder, "untouched")
    with pytest.raises(BackupDamagedError):
        restore(target, damaged)
    assert list(target.project.iterdir()) == []


@pytest.mark.parametrize("name", ["manifest.json", "morph.dump", "objects.jsonl"])
def test_a_folder_that_lacks_a_file_is_no_backup(saved_project, tmp_path, name):
    folder, backup = saved_project
    shutil.copytree(backup.folder, tmp_path / "partial")
    (tmp_path / "partial" / name).unlink()
    with pytest.raises(BackupDamagedError, match=name):
        restore(home_in(folder, "untouched"), tmp_path / "partial")


def test_a_missing_line_of_the_index_is_found(saved_project, tmp_path):
    folder, backup = saved_project
    shutil.copytree(backup.folder, tmp_path / "short")
    manifest = json.loads((tmp_path / "short" / "manifest.json").read_bytes())
    assert manifest["object_count"] >= 2
    index = tmp_path / "short" / "objects.jsonl"
    index.write_bytes(b"".join(index.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(BackupDamagedError):
        restore(home_in(folder, "untouched"), tmp_path / "short")


@pytest.mark.parametrize("what", ["heads", "rows"])
def test_dumps_that_are_not_of_the_manifests_moment_are_refused(saved_project, tmp_path, what):
    folder, backup = saved_project
    shutil.copytree(backup.folder, tmp_path / "other")
    manifest = json.loads((tmp_path / "other" / "manifest.json").read_bytes())
    if what == "heads":
        manifest["heads"]["default"]["hash"] = "0" * 64
    else:
        manifest["rows"]["event"] += 1
    (tmp_path / "other" / "manifest.json").write_bytes(canonical_bytes(manifest))
    target = home_in(folder, "untouched")
    with pytest.raises(BackupDamagedError, match="restored"):
        restore(target, tmp_path / "other")
    assert list(target.project.iterdir()) == []


def test_a_chain_that_was_tampered_with_before_the_backup_is_not_restored(saved_project):
    folder, _ = saved_project
    first = home_in(folder, "first")
    url = find_operator_access(first).morph_url
    change = "UPDATE morph.event SET actor = %s WHERE seq = 2 RETURNING seq"
    with psycopg.connect(url) as connection:
        (actor,) = connection.execute("SELECT actor FROM morph.event WHERE seq = 2").fetchone()
        connection.execute("SET session_replication_role = replica")  # no trigger sees it
        connection.execute(change, ("somebody",))
    try:
        backup = save(first, folder / "backups" / "tampered")
        with pytest.raises(BackupDamagedError, match="breaks at event 2"):
            restore(home_in(folder, "untouched"), backup.folder)
    finally:
        with psycopg.connect(url) as connection:
            connection.execute("SET session_replication_role = replica")
            connection.execute(change, (actor,))


def test_a_damaged_object_is_left_out_and_named(saved_project):
    folder, _ = saved_project
    first = home_in(folder, "first")
    bundle = next((HomeLayout(first.home).objects / "tenants/default/bundles").glob("*/*"))
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[:-1])
    try:
        manifest = save(first, folder / "backups" / "holed").manifest
    finally:
        bundle.write_bytes(whole)
    assert not manifest.is_complete
    assert [missing.key for missing in manifest.missing] == [
        f"tenants/default/bundles/{bundle.parent.name}/{bundle.name}"
    ]
    verify_backup(folder / "backups" / "holed", unseen_progress)


def test_a_key_that_was_laid_into_the_backup_since_is_not_restored(saved_project, tmp_path):
    folder, backup = saved_project
    shutil.copytree(backup.folder, tmp_path / "enriched")
    (tmp_path / "enriched" / "trust" / "keys" / "stranger.pem").write_bytes(b"not saved")
    target = home_in(folder, "enriched")
    try:
        restore(target, tmp_path / "enriched", with_keys=True)
        assert {path.name for path in target.keys_dir.iterdir()} == {
            path.name for path in (backup.folder / "trust" / "keys").iterdir()
        }
    finally:
        stop_platform(target)
        shutil.rmtree(target.project)
