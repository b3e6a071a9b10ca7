"""Training processes of several hosts ask for kernels that nobody built: each is built once and fetched once a host.

`make coordination` has it with 4 hosts of 4 processes and 20 kernels.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import product

import psutil
import pytest

from morph_assets.registry.builds import count_builds
from morph_kernels.blueprint import Blueprint
from tests.support.blueprint_text import TEXT
from tests.support.command_line import REPOSITORY, clean_environment, morph_command

HOSTS, JOBS, KERNELS = (int(count) for count in os.environ.get("MORPH_COORDINATION", "2x2x1").split("x"))
PATIENCE_S = 60.0 + 90.0 * KERNELS
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * PATIENCE_S)]


class Job:
    """A training process of a simulated host: a cache folder of the host's, and no network at all."""

    def __init__(self, folder, host, environment):
        self.host = host
        self.process = subprocess.Popen(
            [shutil.which("unshare"), "--net", sys.executable, "-m", "tests.support.asking_job", str(folder)],
            cwd=REPOSITORY,
            env=environment | {"MORPH_CACHE_DIR": str(folder / f"host{host}"), "MORPH_DEADLINE_S": "30"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def go(self):
        self.process.stdin.write("load\n")
        self.process.stdin.flush()

    def told(self):
        return json.loads(self.process.stdout.readline())


@pytest.fixture
def asked(made_platform, tmp_path):
    """The jobs, as none of them got a kernel, and the library that they want."""
    names = [f"block{number:02}" for number in range(KERNELS)]
    for number, name in enumerate(names):
        text = TEXT.replace("name: block", f"name: {name}").replace("features: 16", f"features: {16 + 8 * number}")
        blueprint = Blueprint.from_yaml(text)
        made_platform.platform.submit_blueprint(blueprint)
        (tmp_path / f"{name}.json").write_bytes(blueprint.to_bytes())
    environment = clean_environment(**made_platform.environment(), MORPH_REFRESH_S="0.001")
    jobs = [Job(tmp_path, host, environment) for host, _ in product(range(HOSTS), range(JOBS))]
    try:
        assert {source for told in ask(jobs) for source, _, _ in told.values()} == {"eager"}
        yield jobs, names, environment
    finally:
        for job in jobs:
            job.process.kill()
            job.process.wait()


def ask(jobs):
    """Let all of them load at once."""
    for job in jobs:
        job.go()
    return [job.told() for job in jobs]


def wait_until(condition):
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def build(folder, environment):
    command = morph_command("cache", "requests", "--build", "--json")
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def is_compiling(builder):
    return any("bwrap" in child.name() for child in psutil.Process(builder.pid).children())


def test_what_many_ask_for_is_built_once_and_fetched_once_a_host(made_platform, tmp_path, asked):
    jobs, names, environment = asked
    requests = made_platform.platform.build_requests()
    assert sorted(request.name for request in requests) == names

    stopped = build(tmp_path, environment)
    wait_until(lambda: is_compiling(stopped))
    stopped.send_signal(signal.SIGSTOP)
    builders = [build(tmp_path, environment) for _ in range(2)]
    assert [builder.wait(timeout=PATIENCE_S) for builder in builders] == [0, 0]
    stopped.send_signal(signal.SIGCONT)
    stopped.wait(timeout=PATIENCE_S)

    registry = made_platform.platform.connections.registry("compiler")
    assert count_builds(registry)["built"] == KERNELS
    kernels = made_platform.platform.list_kernels(states=["PUBLISHED"])
    published = {name: kernel.digest for kernel in kernels for name in kernel.names}
    assert published.keys() == set(names)
    assert made_platform.platform.build_requests() == ()

    found = ask(jobs)
    assert {(name, digest) for told in found for name, (_, _, digest) in told.items()} == set(published.items())
    fetched = Counter(
        (job.host, name)
        for job, told in zip(jobs, found, strict=True)
        for name, (source, _, _) in told.items()
        if source != "disk"
    )
    assert fetched == Counter(product(range(HOSTS), names))
    assert {source for told in ask(jobs) for source, _, _ in told.values()} == {"process"}
