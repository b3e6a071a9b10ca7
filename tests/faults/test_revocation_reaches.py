"""A revocation reaches a training process: at once over Redis, within the refresh period without it, with no daemon."""

import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from tests.support.command_line import REPOSITORY, clean_environment
from tests.support.valkey import Valkey

REF = "ffn_gelu@production"
REFRESH_S = 4.0
pytestmark = pytest.mark.timed


class Job:
    """The training process; nothing of the platform runs but the command that is called."""

    def __init__(self, made, folder, *, redis_url, refresh_s):
        endpoints = made.config.endpoints
        options = {
            "redis_url": redis_url,
            "store_url": endpoints.store_url,
            "trust_file": str(endpoints.trust_file),
            "tenant": made.config.tenant,
            "cache_dir": str(folder / "cache"),
            "refresh_s": refresh_s,
            "ref": REF,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.watching_job", json.dumps(options)],
            cwd=REPOSITORY,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def do(self, what):
        """Return what it tells afterwards."""
        self.process.stdin.write(f"{what}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def do_until(self, what, wanted, within_s):
        """Return how long it took, from now, until a condition holds."""
        began = time.monotonic()
        while not wanted(told := self.do(what)):
            assert time.monotonic() - began < within_s, told
        return time.monotonic() - began


@pytest.fixture
def redis(tmp_path):
    valkey = Valkey(tmp_path)
    valkey.start()
    yield valkey
    valkey.process.send_signal(signal.SIGCONT)
    valkey.stop()


@pytest.fixture
def start(made_platform, tmp_path, redis):
    jobs = []

    def started(refresh_s):
        jobs.append(Job(made_platform, tmp_path, redis_url=redis.url, refresh_s=refresh_s))
        jobs[0].do_until("load", lambda told: told["fresh"] == "process" and told["pushes"]["listening"], 20)
        return jobs[0]

    yield started
    for job in jobs:
        job.process.kill()
        job.process.wait()


def test_within_a_second_while_redis_is_reachable(made_platform, redis, start):
    with made_platform.other(redis_url=redis.url) as platform:
        _, kernel = made_platform.judged()
        platform.publish_kernel("ffn_gelu")
        job = start(refresh_s=3600.0)
        platform.revoke_kernel(kernel.digest, "wrong gradients")
        job.do_until("load", lambda told: told["fresh"] == "eager", 1.0)
        assert job.do("wait")["held"] != "eager"
        assert job.do("boundary")["held"] == "eager"


def test_within_the_refresh_period_while_redis_is_stopped(made_platform, redis, start):
    with made_platform.other(redis_url=redis.url) as platform:
        _, kernel = made_platform.judged()
        platform.publish_kernel("ffn_gelu")
        job = start(refresh_s=REFRESH_S)
        redis.process.send_signal(signal.SIGSTOP)
        platform.revoke_kernel(kernel.digest, "wrong gradients")
        # A training process that computes: it loads nothing and crosses no boundary. At its first one the body leaves.
        time.sleep(REFRESH_S)
        assert job.do("boundary")["held"] == "eager"
        assert job.do("load")["fresh"] == "eager"


def wait_for(wanted, limit_s=5.0):
    """Wait until a condition holds."""
    end = time.monotonic() + limit_s
    while not wanted():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_watch_ends_with_its_loader(made_platform, redis):
    made_platform.published()
    loader = made_platform.loader(redis_url=redis.url)
    loader.load(REF)

    def listeners():
        return [one for one in redis.client().client_list() if one["sub"] == "1"]

    wait_for(listeners)
    del loader
    wait_for(lambda: "morph-watch" not in {thread.name for thread in threading.enumerate()})
    wait_for(lambda: not listeners())


def test_without_redis_nothing_listens(made_platform):
    made_platform.published()
    loader = made_platform.loader(redis_url=None)
    loader.load(REF)
    assert loader.stats()["index_pushes"] == {"listening": False}
