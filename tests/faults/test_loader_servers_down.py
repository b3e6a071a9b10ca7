"""Every server stopped in every way while a job loads kernels: no exception, no wait beyond the deadline, and back."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from morph_kernels.blueprint import Blueprint
from tests.support.faulty_proxy import faulty_proxy
from tests.support.publishing import Publisher
from tests.support.traps import remade
from tests.support.valkey import Valkey

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timed
DEADLINE_S, SLACK_S, REST_S, EXIT_S = 0.5, 0.25, 0.3, 0.2
KERNELS = 8


class Job:
    """A process that loads what it is told to."""

    def __init__(self, folder, publisher, *, redis_port, store_url):
        options = {
            "redis_url": f"redis://127.0.0.1:{redis_port}/0",
            "store_url": store_url,
            # Nobody listens there: a load that asked the database would fail.
            "database_url": "postgresql://127.0.0.1:1/morph",
            "trust_file": str(publisher.folder / "trust" / "trust.json"),
            "cache_dir": str(folder / "cache"),
            "blueprint": str(folder / "blueprint.json"),
            "deadline_s": DEADLINE_S,
            "breaker_rest_s": REST_S,
        }
        self.log = folder / "job.log"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.loading_job", json.dumps(options)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log.open("w"),
            text=True,
        )
        self.slowest = 0.0

    def load(self, name):
        """Return how a load went."""
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, self.log.read_text()[-2000:]
        told = json.loads(line)
        self.slowest = max(self.slowest, told["seconds"])
        return told

    def load_until(self, name, wanted, limit_s=20.0):
        """Load until a condition holds; the job never stands still meanwhile."""
        end = time.monotonic() + limit_s
        while not wanted(told := self.load(name)):
            assert time.monotonic() < end, told
        return told

    def finish(self):
        """End it, and return how long its interpreter waited for threads."""
        self.process.stdin.close()
        told = json.loads(self.process.stdout.readline())
        assert self.process.wait(timeout=10) == 0, self.log.read_text()[-2000:]
        return told["waited_s"]


def publish_many(publisher, kernel):
    """Publish a kernel under many names, each with a digest of its own, so that every one must be fetched."""
    (publisher.folder / "blueprint.json").write_bytes(kernel.blueprint.to_bytes())
    for number in range(KERNELS):
        blueprint = Blueprint.from_bytes(kernel.blueprint.to_bytes(), name=f"ffn_{number}")
        manifest = remade(kernel.manifest, glibc=f"2.{number}")
        bundle = type(kernel.bundle)(manifest.to_bytes(), kernel.bundle.libraries)
        publisher.publish(type(kernel)(blueprint, manifest, bundle, kernel.forward, kernel.backward))


@pytest.fixture
def scene(tmp_path, compiled, seaweedfs):
    """A publisher in S3, proxies before both servers, and a job that has loaded its first kernel."""
    with ExitStack() as stack:
        url = seaweedfs.url("morph", f"down-{tmp_path.name}")
        publisher = Publisher(tmp_path, store_url=url)
        publish_many(publisher, compiled("ffn_gelu"))
        valkey = Valkey(tmp_path)
        valkey.start()
        stack.callback(valkey.stop)
        s3_port = urlsplit(seaweedfs.endpoint).port
        redis_proxy = stack.enter_context(faulty_proxy(valkey.port))
        store_proxy = stack.enter_context(faulty_proxy(s3_port))
        job = Job(
            tmp_path,
            publisher,
            redis_port=redis_proxy.port,
            store_url=url.replace(f"%3A{s3_port}", f"%3A{store_proxy.port}"),
        )
        stack.callback(job.process.kill)
        job.load_until("ffn_0", lambda told: told["source"] != "eager")
        yield job, valkey, redis_proxy, store_proxy, seaweedfs


def is_down(tier):
    return lambda told: told["stats"]["tiers"][tier]["breaker_open"]


def is_up(tier):
    return lambda told: not told["stats"]["tiers"][tier]["breaker_open"]


def check(job):
    """Say what held for every load, whatever the servers did."""
    assert job.slowest <= DEADLINE_S + SLACK_S
    last = job.load("ffn_0")
    assert last["source"] == "process"
    assert last["heavy"] == []
    assert job.finish() <= EXIT_S


@pytest.mark.parametrize("tier", ["redis", "store"])
@pytest.mark.parametrize("mode", ["silent", "refuse"])
def test_a_server_that_is_gone_costs_no_load_more_than_its_deadline(scene, tier, mode):
    job, _, redis_proxy, store_proxy, _ = scene
    proxy = redis_proxy if tier == "redis" else store_proxy
    proxy.mode = mode
    told = job.load("ffn_1")
    # The other server is asked in time, although this one took its share.
    assert told["source"] == ("store" if tier == "redis" else "eager")
    job.load_until("ffn_0", is_down(tier))
    if tier == "redis":
        assert job.load("ffn_2")["source"] == "store"
    proxy.mode = "pass"
    job.load_until("ffn_0", is_up(tier))
    job.load_until("ffn_3", lambda told: told["source"] != "eager")
    check(job)


@pytest.mark.parametrize("tier", ["redis", "store"])
def test_a_slow_server_is_used_within_the_deadline_or_left(scene, tier):
    job, _, redis_proxy, store_proxy, _ = scene
    (redis_proxy if tier == "redis" else store_proxy).mode = "slow"
    sources = [job.load(f"ffn_{number}")["source"] for number in range(1, 5)]
    assert set(sources) <= {"store", "redis", "eager"}
    check(job)


def test_a_connection_cut_in_the_middle_of_a_kernel_is_a_failure_like_any_other(scene):
    job, _, _, store_proxy, _ = scene
    store_proxy.cuts = True
    told = job.load("ffn_1")
    assert (told["source"], told["reason"]) in {("eager", "unavailable"), ("eager", "deadline")}
    store_proxy.cuts = False
    job.load_until("ffn_1", lambda told: told["source"] != "eager")
    check(job)


def test_redis_stopped_then_killed_then_back(scene):
    job, valkey, *_ = scene
    valkey.process.send_signal(signal.SIGSTOP)
    assert job.load("ffn_1")["source"] == "store"
    job.load_until("ffn_0", is_down("redis"))
    valkey.stop()
    assert job.load("ffn_2")["source"] == "store"
    valkey.start()
    job.load_until("ffn_0", is_up("redis"))
    check(job)


def test_the_store_stopped_and_continued(scene):
    job, _, _, _, seaweedfs = scene
    seaweedfs.process.send_signal(signal.SIGSTOP)
    try:
        assert job.load("ffn_1")["source"] == "eager"
        job.load_until("ffn_0", is_down("store"))
    finally:
        seaweedfs.process.send_signal(signal.SIGCONT)
    job.load_until("ffn_1", lambda told: told["source"] != "eager")
    check(job)


def test_the_process_ends_at_once_although_both_servers_hang(scene):
    job, _, redis_proxy, store_proxy, _ = scene
    redis_proxy.mode = store_proxy.mode = "silent"
    assert job.load("ffn_1")["source"] == "eager"
    assert job.slowest <= DEADLINE_S + SLACK_S
    assert job.finish() <= EXIT_S


@pytest.mark.parametrize("round_", range(5))
def test_the_process_ends_well_while_answers_still_come(scene, round_):
    job, _, redis_proxy, store_proxy, _ = scene
    redis_proxy.mode = store_proxy.mode = "slow"
    job.load(f"ffn_{1 + round_}")
    assert job.finish() <= EXIT_S
