"""A project that `morph dev` serves, with its real web server and daemon, for the tests of one module."""

import json
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import pytest

from tests.support.command_line import clean_environment, morph_command, run_morph
from tests.support.compiled_project import share_headers
from tests.support.seaweedfs import free_ports

_READY_S = 120.0


@dataclass(frozen=True)
class ServedProject:
    """A running `morph dev`."""

    folder: Path
    url: str
    process: subprocess.Popen[str]

    def ask(self, query: str) -> dict[str, Any]:
        """Ask the web server a GraphQL query and return its data."""
        body = json.dumps({"query": query}).encode()
        request = Request(f"{self.url}/graphql", body, {"content-type": "application/json"})  # noqa: S310  # our own
        with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
            document = json.load(answer)
        assert "errors" not in document, document
        data: dict[str, Any] = document["data"]
        return data


def serve(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start `morph dev` in a folder."""
    return subprocess.Popen(
        morph_command("dev", *arguments),
        cwd=folder,
        env=clean_environment() | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def eventually(holds: Callable[[], bool], within_s: float) -> bool:
    """Return whether the condition came true in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def processes_of(folder: Path) -> list[int]:
    """Return the processes that work in the folder, or below it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            place = (entry / "cwd").readlink()
        except OSError:  # gone, or somebody else's
            continue
        if place == folder or folder in place.parents:
            found.append(int(entry.name))
    return found


@pytest.fixture(scope="module")
def served_project(kernel_cache: Path) -> Iterator[ServedProject]:
    """A project served by `morph dev`, with the headers of the test session."""
    folder = Path(tempfile.mkdtemp(prefix="morph-", dir="/tmp"))
    (port,) = free_ports(1)
    ran = run_morph("up", cwd=folder)
    assert ran.returncode == 0, ran.stderr
    share_headers(folder, kernel_cache)
    process = serve(folder, "--port", str(port))
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Dagster serves at "), process.communicate(timeout=_READY_S)
        yield ServedProject(folder, line.removeprefix("Dagster serves at ").strip(), process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)
        run_morph("down", "--purge", cwd=folder)
        shutil.rmtree(folder)
