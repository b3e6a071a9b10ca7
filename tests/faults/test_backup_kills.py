"""Whenever a backup or a restore is killed, there is nothing or a whole one, and the next one works."""

import shutil
import signal
import subprocess
import time

import pytest

from morph_assets.devservices.home import is_home
from morph_assets.usecases.start_platform import start_platform
from morph_assets.usecases.stop_platform import stop_platform
from morph_assets.usecases.verify_backup import verify_backup
from tests.support.backups import home_in, restore, save, unseen_progress
from tests.support.command_line import clean_environment, morph_command
from tests.support.compiled_project import open_project
from tests.support.served import processes_of

pytestmark = pytest.mark.slow

PATIENCE_S = 60.0


def kill_when(came_to, *arguments, home):
    """Run a command and kill it with everything it started directly as soon as it has come to something."""
    process = subprocess.Popen(
        morph_command(*arguments),
        cwd=home.parent,
        env=clean_environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + PATIENCE_S
    while not came_to() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("reached", ["", "dagster.dump", "morph.dump", "objects.jsonl", "trust", "manifest.json"])
def test_a_killed_backup_is_none_or_whole_and_the_next_one_cleans_up(saved_project, reached):
    folder, _ = saved_project
    first, destination = home_in(folder, "first"), folder / "backups" / "killed"

    kill_when(
        lambda: any((draft / reached).exists() for draft in destination.parent.glob(".killed.*.draft")),
        "backup",
        str(destination),
        home=first.home,
    )

    if destination.exists():
        verify_backup(destination, unseen_progress)
        shutil.rmtree(destination)
    save(first, destination)
    verify_backup(destination, unseen_progress)
    assert list(destination.parent.glob(".killed.*.draft")) == []
    shutil.rmtree(destination)


@pytest.mark.parametrize("reached", ["home.json", "postgres", "objects/tenants", "trust/trust.json", "../.morph"])
def test_a_killed_restore_is_none_or_whole_and_the_next_one_cleans_up(saved_project, reached):
    folder, backup = saved_project
    target = home_in(folder, "target")
    draft = target.home.with_name(".morph.new")
    try:
        kill_when((draft / reached).exists, "restore", str(backup.folder), "--with-keys", home=target.home)
        if not target.home.exists():
            restore(target, backup.folder, with_keys=True)
        start_platform(target, tenant="default")

        assert not draft.exists()
        assert is_home(target.home)
        with open_project(target.project) as platform:
            platform.relay_indexes()  # what a sensor does: the killed one may not have come so far
            assert platform.stale_indexes() == ()
            assert platform.verify_audit().holds
            assert platform.find_kernel("ffn_gelu@production").state == "PUBLISHED"
    finally:
        stop_platform(target)
        assert processes_of(draft) == []
        shutil.rmtree(target.project)
