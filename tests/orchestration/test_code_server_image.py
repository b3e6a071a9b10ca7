"""The image of the code server, as far as it can be tried without building it."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from morph_assets.definitions import defs
from tests.support.command_line import REPOSITORY, clean_environment
from tests.support.seaweedfs import free_ports
from tests.support.served import eventually

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
WORKSPACE = REPOSITORY / "dagster_home" / "production" / "workspace.yaml"


def instruction(name: str) -> list[str]:
    """Return the words of the one exec-form instruction."""
    (found,) = re.findall(rf"^{name}\s(?:.*CMD\s)?(\[.*\])$", DOCKERFILE, flags=re.MULTILINE)
    words: list[str] = json.loads(found)
    return words


def installs(text: str, pip: str) -> list[list[str]]:
    return [shlex.split(line) for line in re.findall(rf"{re.escape(pip)} (install .*)$", text, flags=re.MULTILINE)]


def test_it_installs_as_the_makefile_does_apart_from_what_development_adds():
    makefile = (REPOSITORY / "Makefile").read_text()
    makefile = makefile.replace(
        "$(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))", "${TORCH_INDEX:+--index-url $TORCH_INDEX}"
    )
    ours, theirs = installs(DOCKERFILE, ".venv/bin/pip"), installs(makefile, "$(BIN)/pip")

    assert len(ours) == 3
    assert ours[:2] == theirs[:2]
    assert ours[2] == [*theirs[2][: theirs[2].index("--group")], ".[platform]"]


def test_it_runs_as_an_ordinary_user_and_carries_no_secret():
    steps = [line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if re.match(r"[A-Z]+ ", line)]

    assert ["USER", "morph"] in steps
    assert steps.index(["USER", "morph"]) < next(i for i, step in enumerate(steps) if step[0] == "CMD")
    assert not re.search(r"(?i)password|secret_access|_URL=", DOCKERFILE)


def test_everything_that_is_copied_is_there_and_not_ignored():
    copied = [source for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE) for source in line.split()[:-1]]
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}

    assert copied
    for source in copied:
        assert (REPOSITORY / source).exists(), source
        assert any(entry == source or entry.startswith(f"{source}/") for entry in allowed), source


@pytest.fixture(scope="module")
def code_server(tmp_path_factory) -> Iterator[int]:
    """The image's start command, on a free port of the loopback."""
    (port,) = free_ports(1)
    words = ["127.0.0.1" if w == "0.0.0.0" else str(port) if w == "4000" else w for w in instruction("CMD")]  # noqa: S104
    assert words[0] == "dagster"
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=tmp_path_factory.mktemp("app"),
        env=clean_environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield port
    finally:
        # Dagster's server heeds SIGTERM only where the shell that began all this did not ignore it.
        process.kill()
        process.wait(timeout=30)


def dagster(*words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dagster", *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=clean_environment(**variables),
        timeout=120,
    )


def test_its_start_command_serves_and_its_health_check_says_so(code_server, tmp_path):
    check = [str(code_server) if word == "4000" else word for word in instruction("HEALTHCHECK")][1:]

    assert eventually(lambda: dagster(*check, cwd=tmp_path).returncode == 0, within_s=60)


def test_the_health_check_of_nobody_fails(tmp_path):
    (port,) = free_ports(1)
    check = [str(port) if word == "4000" else word for word in instruction("HEALTHCHECK")][1:]

    assert dagster(*check, cwd=tmp_path).returncode != 0


def test_the_production_workspace_finds_every_sensor_in_it(code_server, tmp_path):
    (tmp_path / "home").mkdir()
    found = dagster(
        "sensor",
        "list",
        "-w",
        str(WORKSPACE),
        cwd=tmp_path,
        DAGSTER_HOME=str(tmp_path / "home"),
        MORPH_CODE_SERVER_HOST="127.0.0.1",
        MORPH_CODE_SERVER_PORT=str(code_server),
    )

    assert found.returncode == 0, found.stderr
    assert found.stdout.count("[RUNNING]") == len(defs.sensors or ())
