"""Another user of this machine exchanges what is cached and knocks at the servers: nothing of theirs runs."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import psutil
import pytest

from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.leftovers import find_leftovers
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.cache.disk_tier import DiskTier
from morph_kernels.cache.private_file import NotPrivateError
from morph_kernels.loader.body import BodyLoadError, CompiledBody
from tests.support.command_line import run_morph

NOBODY = 65534
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which needs root")


def as_nobody(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python as another user, who may go where this machine's doors are open, and nowhere else."""
    command = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    python = next(path for path in (sys.executable, "/usr/bin/python3") if _is_open(Path(path)))
    return subprocess.run(
        [*command, python, "-c", dedent(script), *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": os.environ["PATH"]},
        timeout=60,
    )


def _is_open(python: Path) -> bool:
    return python.exists() and all(part.stat().st_mode & 0o001 for part in python.resolve().parents)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that everybody may write into, and whose entries everybody may rename."""
    folder = Path(tempfile.mkdtemp(prefix="morph-shared-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


SWAP = """
    import shutil, sys
    from pathlib import Path
    shared, fake = Path(sys.argv[1]), Path(sys.argv[2])
    (shared / "cache").rename(shared / "away")
    shutil.copytree(fake, shared / "cache")
"""


def test_a_cache_that_is_exchanged_after_it_was_verified_is_not_loaded(shared, compiled, trap):
    """The window between checking bytes and linking them: the files of the path are then somebody else's."""
    kernel = compiled("ffn_gelu")
    disk = DiskTier(DiskFolder(shared / "cache", tenant="default"))
    disk.put(kernel.manifest, kernel.bundle)
    entry = disk.find(kernel.manifest.digest)
    fake = shared / "fake" / "default" / "kernels" / kernel.manifest.digest
    shutil.copytree(shared / "cache" / "default" / "kernels" / kernel.manifest.digest, fake)
    for library in fake.glob("*.so"):
        library.write_bytes(trap.library)
    for path in (shared / "fake", *(shared / "fake").rglob("*")):
        path.chmod(0o755)
    swapped = as_nobody(SWAP, shared, shared / "fake")
    assert swapped.returncode == 0, swapped.stderr

    with pytest.raises(BodyLoadError):
        CompiledBody(kernel.manifest, forward=entry.libraries["forward"], backward=entry.libraries["backward"])
    assert not trap.was_sprung
    with pytest.raises(NotPrivateError):
        disk.find(kernel.manifest.digest)


MEDDLE = """
    import json, os, sys
    from pathlib import Path
    cache = Path(sys.argv[1])
    entry = next(iter(sys.argv[2:3]))
    ways = {
        "read": lambda: os.listdir(entry),
        "write": lambda: open(f"{entry}/manifest.json", "r+b"),
        "replace": lambda: os.rename(sys.argv[3], f"{entry}/manifest.json"),
        "link": lambda: os.symlink(sys.argv[3], f"{entry}/other.so"),
        "remove": lambda: os.unlink(f"{entry}/manifest.json"),
        "move": lambda: os.rename(entry, "/tmp/taken"),
        "open": lambda: os.chmod(cache, 0o777),
    }
    outcome = {}
    for way, act in ways.items():
        try:
            act()
            outcome[way] = "done"
        except OSError as error:
            outcome[way] = type(error).__name__
    print(json.dumps(outcome))
"""


def test_what_is_cached_another_user_can_neither_read_nor_change(shared, compiled, trap):
    kernel = compiled("ffn_gelu")
    disk = DiskTier(DiskFolder(shared / "cache", tenant="default"))
    disk.put(kernel.manifest, kernel.bundle)
    theirs = shared / "theirs.so"
    theirs.write_bytes(trap.library)
    os.chown(theirs, NOBODY, NOBODY)
    entry = shared / "cache" / "default" / "kernels" / kernel.manifest.digest
    ran = as_nobody(MEDDLE, shared / "cache" / "default", entry, theirs)
    assert set(json.loads(ran.stdout).values()) == {"PermissionError"}, ran
    assert disk.find(kernel.manifest.digest).bundle == kernel.bundle


KNOCK = """
    import json, socket, sys
    reached = {}
    for address in sys.argv[1:]:
        try:
            with socket.socket(socket.AF_UNIX) as door:
                door.connect(address)
            reached[address] = "connected"
        except OSError as error:
            reached[address] = type(error).__name__
    print(json.dumps(reached))
"""


def test_another_user_reaches_no_socket_and_there_is_no_port(project_folder):
    project_folder.chmod(0o755)
    assert run_morph("up", cwd=project_folder).returncode == 0
    layout = HomeLayout(project_folder / ".morph")
    servers = [psutil.Process(process.pid) for process in find_leftovers(layout)]
    listening = [c for server in servers for c in server.net_connections(kind="all") if c.status == psutil.CONN_LISTEN]
    assert servers
    assert listening == []
    sockets = [path for path in layout.run.iterdir() if path.is_socket()]
    assert sockets
    ran = as_nobody(KNOCK, *sockets)
    assert set(json.loads(ran.stdout).values()) == {"PermissionError"}, ran
