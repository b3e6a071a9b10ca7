"""What stands in the way of `morph up` is said in one line with what to do."""

import json
import os
import re
import socket
import subprocess
from pathlib import Path

import psycopg
import pytest
import redis

from morph_assets.devservices.errors import UnsupportedPlatformError
from morph_assets.devservices.home import HostPlatform, require_supported_platform
from morph_assets.devservices.launch import find_supervisor
from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.leftovers import find_leftovers
from tests.support.command_line import clean_environment, morph_command, run_morph

NOBODY = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def assert_one_line(ran, pattern):
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert len(ran.stderr.splitlines()) == 1, ran.stderr
    assert re.search(pattern, ran.stderr), ran.stderr


@pytest.mark.parametrize("option", ["--postgres-port", "--redis-port"])
def test_a_taken_port_is_named_and_nothing_is_left_running(project_folder, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run_morph("up", option, str(port), cwd=project_folder)

    assert_one_line(ran, rf"port {port} on 127.0.0.1 is taken: choose another with {option}")
    assert find_leftovers(HomeLayout(project_folder / ".morph")) == []


def test_ports_open_on_loopback_with_passwords(project_folder):
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = one.getsockname()[1], other.getsockname()[1]
    ran = run_morph("up", "--postgres-port", str(ports[0]), "--redis-port", str(ports[1]), cwd=project_folder)
    assert ran.returncode == 0, ran.stderr

    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host="127.0.0.1", port=ports[0], user="morph_bootstrap", password="wrong", dbname="morph")
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=ports[1], retry=None, single_connection_client=False).ping()
    again = run_morph("up", "--postgres-port", "1", cwd=project_folder)
    assert_one_line(again, r"already run without --postgres-port 1: `morph down` first")
    assert run_morph("up", cwd=project_folder).returncode == 0  # no wish for a port: whatever runs is right


def test_a_path_too_long_for_a_socket_says_what_to_do(project_folder):
    home = project_folder / ("long" * 30) / ".morph"

    ran = run_morph("up", cwd=project_folder, home=home)

    assert_one_line(ran, r"bytes too long for a unix socket in it: set MORPH_HOME to a short path")
    assert list(project_folder.iterdir()) == []


@root_only
def test_a_folder_that_cannot_be_written_says_what_to_do(project_folder):
    project_folder.chmod(0o755)

    ran = run_morph("up", cwd=project_folder, uid=NOBODY)

    assert_one_line(ran, r"cannot be written \(Permission denied\): set MORPH_HOME to a folder of your own")


@root_only
def test_somebody_elses_home_is_left_alone(project_folder):
    home = project_folder / ".morph"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)

    ran = run_morph("up", cwd=project_folder, home=home)

    assert_one_line(ran, r"belongs to another user")
    assert list(home.iterdir()) == []


def test_a_folder_with_other_things_in_it_is_never_taken_or_purged(project_folder):
    precious = project_folder / "thesis.tex"
    precious.write_text("years")

    assert_one_line(
        run_morph("up", cwd=project_folder, home=project_folder), r"holds 'thesis.tex', so it is no Morph home"
    )
    assert_one_line(run_morph("down", "--purge", cwd=project_folder, home=project_folder), r"nothing was deleted")
    assert precious.read_text() == "years"


@root_only
def test_up_works_as_an_ordinary_user(project_of_nobody):
    ran = run_morph("up", cwd=project_of_nobody, uid=NOBODY)
    status = run_morph("status", "--json", cwd=project_of_nobody, uid=NOBODY)
    down = run_morph("down", "--purge", cwd=project_of_nobody, uid=NOBODY)

    assert ran.returncode == 0, ran.stderr
    assert [service["state"] for service in json.loads(status.stdout)["services"]] == ["ready"] * 3
    assert down.stdout.splitlines()[0] == "stopped"
    # Dagster's home is the project's own folder; a purge takes what is stored, not what is configured.
    assert [path.name for path in project_of_nobody.iterdir()] == ["dagster_home"]


@root_only
def test_root_without_user_namespaces_runs_the_servers_as_nobody(project_folder):
    project_folder.chmod(0o711)
    without_unshare = project_folder / "bin"
    without_unshare.mkdir(mode=0o755)

    ran = run_morph("up", cwd=project_folder, PATH=str(without_unshare))
    layout = HomeLayout(project_folder / ".morph")
    owners = {Path(f"/proc/{process.pid}").stat().st_uid for process in find_leftovers(layout)}
    with_namespaces_again = run_morph("down", cwd=project_folder), run_morph("up", cwd=project_folder)

    assert ran.returncode == 0, ran.stderr
    assert owners == {NOBODY}
    assert layout.secrets_file.stat().st_mode & 0o777 == 0o600
    assert [ran.returncode for ran in with_namespaces_again] == [0, 0], with_namespaces_again
    assert {Path(f"/proc/{process.pid}").stat().st_uid for process in find_leftovers(layout)} == {0}


@root_only
def test_root_as_nobody_in_an_unreachable_folder_says_what_to_do(project_folder):
    ran = run_morph("up", cwd=project_folder, PATH="/nowhere")

    assert_one_line(ran, r"the servers run as nobody, who cannot reach .*: run as an ordinary user, or set MORPH_HOME")


def test_two_ups_at_once_both_succeed_and_start_one_supervisor(project_folder):
    ups = [
        subprocess.Popen(
            morph_command("up"), cwd=project_folder, env=clean_environment(), stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    printed = [up.communicate(timeout=60)[0] for up in ups]
    log = HomeLayout(project_folder / ".morph").log_file("supervisor").read_text()

    assert [up.returncode for up in ups] == [0, 0, 0]
    assert sorted(text.split()[3] for text in printed) == ["already", "already", "started"]
    assert log.count("started postgres") == 1
    assert find_supervisor(HomeLayout(project_folder / ".morph")) is not None


def test_doctor_names_a_missing_compiler_and_what_to_do(project_folder):
    ran = run_morph("doctor", "--json", cwd=project_folder, PATH="/nowhere")
    findings = {finding["check"]: finding for finding in json.loads(ran.stdout)}

    assert ran.returncode == 1
    assert findings["g++"] == {
        "check": "g++",
        "ok": False,
        "detail": "not on PATH",
        "advice": "apt-get install g++",
    }
    assert findings["platform"]["ok"]
    assert findings["bwrap"]["ok"], findings["bwrap"]
    assert findings["services"] == {
        "check": "services",
        "ok": False,
        "detail": "not ready: supervisor, postgres, valkey",
        "advice": "run `morph up`",
    }


def test_doctor_sees_a_home_that_others_can_read(project_folder):
    assert run_morph("up", cwd=project_folder).returncode == 0
    (project_folder / ".morph").chmod(0o755)

    ran = run_morph("doctor", cwd=project_folder)

    assert ran.returncode == 1
    assert re.search(r"home folder\s+FAILED.*chmod 700", ran.stdout)


@pytest.mark.parametrize(
    ("system", "machine", "libc"), [("darwin", "arm64", ""), ("linux", "aarch64", "glibc"), ("linux", "x86_64", "musl")]
)
def test_another_platform_gets_one_refusal_that_names_the_ways_out(system, machine, libc):
    with pytest.raises(UnsupportedPlatformError, match=r"container .* or WSL2"):
        require_supported_platform(HostPlatform(system, machine, libc))
