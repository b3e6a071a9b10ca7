"""Whatever is killed, the next `morph up` recovers, with everything acknowledged still there."""

import json
import os
import signal
import subprocess
import sys
import time

import psycopg
import pytest

from morph_assets.config import PlatformFolders
from morph_assets.devservices.launch import find_supervisor, living_state
from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.leftovers import find_leftovers
from morph_assets.devservices.process import find_process
from morph_assets.devservices.servers import POSTGRES, VALKEY
from morph_assets.usecases.show_status import show_status
from morph_assets.usecases.start_platform import start_platform
from morph_assets.usecases.stop_platform import stop_platform
from tests.support.services import bootstrap_url

pytestmark = pytest.mark.slow

PATIENCE_S = 20


@pytest.fixture
def folders(project_folder):
    home = project_folder / ".morph"
    return PlatformFolders(
        home=home,
        project=project_folder,
        dagster_home=project_folder / "dagster_home",
        keys_dir=home / "trust" / "keys",
    )


@pytest.fixture
def layout(folders):
    return HomeLayout(folders.home)


def up(folders):
    return start_platform(folders, tenant="default")


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def write_acknowledged(started, count=1):
    with psycopg.connect(bootstrap_url(started, "morph"), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS public.acknowledged (at timestamptz DEFAULT now())")
        for _ in range(count):
            connection.execute("INSERT INTO public.acknowledged DEFAULT VALUES")


def count_acknowledged(started):
    with psycopg.connect(bootstrap_url(started, "morph")) as connection:
        return connection.execute("SELECT count(*) FROM public.acknowledged").fetchone()[0]


def victims(layout, names):
    state = living_state(layout)
    pids = {server.name: server.pid for server in state.servers} | {"supervisor": state.pid}
    return [pids[name] for name in names]


@pytest.mark.parametrize(
    "names",
    [["supervisor"], [POSTGRES], [VALKEY], ["supervisor", POSTGRES, VALKEY]],
    ids=["supervisor", "postgres", "valkey", "all"],
)
def test_after_a_kill_the_next_up_recovers_without_loss(folders, layout, names):
    write_acknowledged(up(folders), 20)
    for pid in victims(layout, names):
        os.kill(pid, signal.SIGKILL)

    again = up(folders)

    assert all(service.is_ready for service in show_status(folders.home))
    assert count_acknowledged(again) == 20


def test_a_killed_supervisor_takes_its_servers_with_it(folders, layout):
    up(folders)
    os.kill(victims(layout, ["supervisor"])[0], signal.SIGKILL)

    wait_for(lambda: not find_leftovers(layout))


@pytest.mark.parametrize("name", [POSTGRES, VALKEY])
def test_the_supervisor_restarts_a_killed_server_by_itself(folders, layout, name):
    up(folders)
    killed = victims(layout, [name])[0]
    os.kill(killed, signal.SIGKILL)

    wait_for(lambda: living_state(layout).server(name).restarts == 1)
    wait_for(lambda: all(service.is_ready for service in show_status(folders.home)))

    assert living_state(layout).server(name).pid != killed


def test_a_server_that_keeps_dying_ends_everything_with_a_reason(folders, layout):
    up(folders)
    supervisor = find_supervisor(layout)
    killed = set()

    def kill_the_next():
        state = living_state(layout)
        if state is not None and state.server(VALKEY).pid not in killed and state.server(VALKEY).process.is_alive():
            killed.add(state.server(VALKEY).pid)
            os.kill(state.server(VALKEY).pid, signal.SIGKILL)
        return not supervisor.is_alive()

    wait_for(kill_the_next)

    assert "valkey keeps ending" in layout.log_file("supervisor").read_text()
    assert find_leftovers(layout) == []


def test_down_ends_everything_also_when_the_supervisor_was_killed(folders, layout):
    up(folders)
    os.kill(victims(layout, ["supervisor"])[0], signal.SIGKILL)

    stop_platform(folders)

    assert find_leftovers(layout) == []


def test_down_leaves_no_process_and_no_socket(folders, layout):
    up(folders)

    assert stop_platform(folders)
    assert find_supervisor(layout) is None
    assert find_leftovers(layout) == []
    assert sorted(path.name for path in layout.run.iterdir()) == ["valkey.acl", "valkey.conf"]
    assert not stop_platform(folders)


def test_a_stale_pid_file_that_names_another_living_process_never_gets_it_signalled(folders, layout):
    up(folders)
    stop_platform(folders)
    with subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as bystander:
        try:
            (layout.postgres_data / "postmaster.pid").write_text(
                f"{bystander.pid}\n{layout.postgres_data}\n1\n5432\n{layout.run}\n\n1 1\nready   \n"
            )
            layout.state_file.write_text(json.dumps({"format": 1, "pid": bystander.pid, "ports": {}, "servers": []}))
            assert all(service.state == "stopped" for service in show_status(folders.home))
            up(folders)
            stop_platform(folders)

            assert bystander.poll() is None
        finally:
            bystander.kill()


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"format": 99}', b"\xff\xfe", b'{"format": 1, "pid": "x"}'])
@pytest.mark.parametrize("name", ["supervisor.json", "endpoints.json"])
def test_a_damaged_file_of_a_running_home_is_written_anew(folders, name, damage):
    first = up(folders)
    path = folders.home / name
    before = path.read_bytes()
    path.write_bytes(damage)

    again = up(folders)

    assert path.read_bytes() == before
    assert (first.was_started, again.was_started) == (True, False)


def test_down_finds_the_supervisor_without_its_state_file(folders, layout):
    up(folders)
    layout.state_file.write_bytes(b"damaged")

    assert stop_platform(folders)
    assert find_leftovers(layout) == []


def test_a_killed_initdb_leaves_no_half_a_data_folder(folders, layout):
    starting = subprocess.Popen(
        [sys.executable, "-c", _UP_PROGRAM, str(folders.home)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    wait_for(lambda: layout.postgres_draft.exists() and any(layout.postgres_draft.iterdir()))
    starting.kill()
    starting.wait()

    assert not layout.postgres_data.exists()
    up(folders)
    assert not layout.postgres_draft.exists()


def test_what_a_killed_initdb_was_feeding_may_still_be_ending_in_its_folder(folders, layout):
    layout.postgres_draft.mkdir(parents=True)
    (layout.postgres_draft / "PG_VERSION").write_text("18")
    # It works relative to its folder, as a server does, wherever that is moved to.
    ending = subprocess.Popen([sys.executable, "-c", _ENDING_PROGRAM], cwd=layout.postgres_draft)
    wait_for((layout.postgres_draft / "1999.tmp").exists)

    up(folders)

    assert ending.wait(10) == 0
    assert list(layout.home.glob("postgres.draft*")) == []


def test_damaged_passwords_are_never_overwritten(folders, layout):
    up(folders)
    layout.secrets_file.write_bytes(b"{")

    with pytest.raises(Exception, match="is damaged"):
        up(folders)

    assert layout.secrets_file.read_bytes() == b"{"


def test_a_backend_killed_alone_is_postgresqls_own_affair(folders, layout):
    started = up(folders)
    write_acknowledged(started)
    with psycopg.connect(bootstrap_url(started, "morph")) as connection:
        backend = connection.info.backend_pid
        assert find_process(backend) is not None
        os.kill(backend, signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")

    assert count_acknowledged(up(folders)) == 1
    assert living_state(layout).server(POSTGRES).restarts == 0


# Makes and removes files for as long as a server takes to end, as long as there is a folder.
_ENDING_PROGRAM = """
import contextlib, pathlib, time
end = time.monotonic() + 3
with contextlib.suppress(FileNotFoundError):
    while time.monotonic() < end:
        for number in range(2000):
            pathlib.Path(f"{number}.tmp").write_text("x")
        for number in range(2000):
            pathlib.Path(f"{number}.tmp").unlink(missing_ok=True)
"""
_UP_PROGRAM = """
import sys
from pathlib import Path
from morph_assets.config import read_folders
from morph_assets.usecases.start_platform import start_platform
start_platform(read_folders({"MORPH_HOME": sys.argv[1]}, start=Path(sys.argv[1]).parent), tenant="default")
"""
