"""A job that loads kernels while Redis, PostgreSQL and the object store of its platform go, one after another."""

import json
import os
import signal
import subprocess
import sys

import pytest

from morph_assets.config import read_config
from morph_assets.devservices.launch import living_state
from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.servers import POSTGRES, VALKEY
from tests.support.command_line import clean_environment, run_morph
from tests.support.compiled_project import open_project
from tests.support.platform import TestPlatform

pytestmark = [pytest.mark.slow, pytest.mark.timed]
DEADLINE_S, SLACK_S = 0.5, 0.25
JOB = """
import json, shutil, sys, time
import torch
from morph_kernels import KernelLoader
from morph_kernels.loader import body
from morph_kernels.settings import read_settings

settings = read_settings()
x = torch.randn(4, 64)
print(json.dumps({"ready": True}), flush=True)
for _ in sys.stdin:
    for number in range(5):
        # Each time as on a host that has nothing yet: a cold disk, and no body in the process.
        shutil.rmtree(settings.cache_dir, ignore_errors=True)
        body._loaded.clear()
        loader = KernelLoader(settings)
        began = time.monotonic()
        kernel = loader.load(BLUEPRINT)
        seconds = time.monotonic() - began
        kernel.train()(x).sum().backward()
        print(json.dumps({"seconds": seconds, "source": kernel.source, "reason": kernel.reason}), flush=True)
"""


class Job:
    """The training process; `load` lets it load five times."""

    def __init__(self, project):
        prelude = "from morph_kernels.blueprint import library\n"
        prelude += 'BLUEPRINT = {b.name: b for b in library()}["ffn_gelu"]\n'
        self.process = subprocess.Popen(
            [sys.executable, "-c", prelude + JOB],
            cwd=project,
            env=clean_environment(MORPH_DEADLINE_S=str(DEADLINE_S)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert json.loads(self.process.stdout.readline())["ready"]

    def load(self):
        self.process.stdin.write("load\n")
        self.process.stdin.flush()
        found = [json.loads(self.process.stdout.readline()) for _ in range(5)]
        assert all(load["seconds"] <= DEADLINE_S + SLACK_S for load in found), found
        return found


@pytest.fixture
def published(project_folder, compiled):
    """A project whose platform has one kernel in service."""
    assert run_morph("up", cwd=project_folder).returncode == 0
    with open_project(project_folder) as platform:
        config = read_config({"MORPH_HOME": str(project_folder / ".morph")}, start=project_folder)
        TestPlatform(platform, config, compiled).published("ffn_gelu")
    return project_folder


def test_training_goes_on_while_its_servers_go_one_after_another(published):
    state = living_state(HomeLayout(published / ".morph"))
    job = Job(published)
    stopped = []
    try:
        # Publishing tells Redis of the index; the first load brings the kernel there.
        assert {load["source"] for load in job.load()} == {"store", "redis"}
        for name in (VALKEY, POSTGRES):
            stopped.append(state.server(name).process.pid)
            os.kill(stopped[-1], signal.SIGSTOP)
            assert {load["source"] for load in job.load()} == {"store"}
        (published / ".morph" / "objects").rename(published / "gone")
        assert {load["source"] for load in job.load()} == {"eager"}
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
        job.process.stdin.close()
        assert job.process.wait(20) == 0
