"""What lies in a loader's way on its own host, or answers for Redis and is none: training gets its kernel, in time."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest
import torch

from morph_kernels.cache.disk_tier import DiskTier
from morph_kernels.loader import KernelLoader
from morph_kernels.reasons import Reason
from tests.support.hostile_host import NAME, REF, join_background
from tests.support.publishing import Publisher

pytestmark = pytest.mark.slow

HOLD = """
import fcntl, os, sys, time
held = []
for path in sys.argv[1:]:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    held.append(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    fcntl.flock(held[-1], fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(120)
"""


@pytest.fixture
def kernel(compiled):
    return compiled(NAME)


def timed(work):
    started = time.monotonic()
    return work(), time.monotonic() - started


@contextmanager
def held(*paths):
    """Let another process of this host hold locks, as one does that was stopped in a write."""
    with subprocess.Popen([sys.executable, "-c", HOLD, *map(str, paths)], stdout=subprocess.PIPE) as holder:
        holder.stdout.readline()
        try:
            yield
        finally:
            holder.kill()


def test_a_process_that_keeps_every_lock_costs_no_more_than_the_deadline(host, kernel):
    host.publisher.publish(kernel)
    cache = host.folder().path
    cache.parent.mkdir(mode=0o700, parents=True)
    locks = ("write-index", "write-kernels", "write-trust", kernel.manifest.digest)
    with held(*(cache / "locks" / name for name in locks)):
        loader, opening_s = timed(lambda: host.publisher.loader(deadline_s=0.6))
        module, load_s = timed(lambda: loader.load(REF))
        assert opening_s < 0.5
        assert load_s < 0.6 + 0.3
        # Nobody else may write, so it runs from memory.
        assert (module.source, module.digest) == ("store", kernel.manifest.digest)
        module(torch.randn(4, 64)).sum().backward()
    # What could not be written at once is, once the lock is free.
    follows = host.publisher.loader(deadline_s=5.0)
    follows.load(REF)
    join_background()
    assert host.index().highest_generation(NAME) == host.publisher.generation


def test_a_new_root_of_trust_over_an_old_cache_is_another_history(host, kernel, tmp_path):
    for _ in range(5):
        host.publisher.publish(kernel)
    assert host.publisher.loader().load(REF).digest is not None
    other = Publisher(tmp_path / "other")
    other.publish(kernel)
    settings = replace(other.settings(), cache_dir=host.publisher.settings().cache_dir)
    for _ in range(2):
        loader = KernelLoader(settings)
        assert loader.load(REF).digest == kernel.manifest.digest
        join_background()
        assert Reason.INDEX_ROLLED_BACK not in loader.stats()["refused"]
    # And the old one remembers what it saw.
    assert host.index().highest_generation(NAME) == 5


def block(path, what):
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if what == "folder":
        path.mkdir()
        (path / "something").touch()
    elif what == "link":
        path.symlink_to("/nonexistent/elsewhere")
    elif what == "socket":
        # The name of a socket is short; that of the folder may not be.
        here = os.open(path.parent, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)
    else:
        os.mkfifo(path)


@pytest.mark.parametrize("what", ["folder", "link", "socket", "pipe"])
@pytest.mark.parametrize("where", ["locks/{digest}", "locks/write-kernels", "locks/write-index", "kernels/uses"])
def test_what_lies_in_the_place_of_a_lock_or_a_log_is_no_lasting_obstacle(host, kernel, where, what):
    host.publisher.publish(kernel)
    cache = host.folder().path
    for folder in (cache.parent, cache, cache / "kernels"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    block(cache / where.format(digest=kernel.manifest.digest), what)
    done = []
    thread = threading.Thread(target=lambda: done.append(host.publisher.loader().load(REF)), daemon=True)
    thread.start()
    thread.join(10)
    assert done, "the load hangs"
    assert done[0].digest == kernel.manifest.digest
    join_background()
    again = host.publisher.loader(endpoints=replace(host.publisher.settings().endpoints, store_url=None))
    assert again.load(kernel.blueprint).digest == kernel.manifest.digest
    assert DiskTier(host.folder()).find(kernel.manifest.digest) is not None


@contextmanager
def pretended_redis(behave):
    """Listen where Redis would, and do with each connection what a test says, until the end."""
    listener, ended = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve(connection):
        with suppress(OSError), connection:
            behave(connection, ended)

    def accept():
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}/0"
    finally:
        ended.set()
        listener.close()


def drip(connection, ended):
    connection.recv(4096)
    connection.sendall(b"+")
    while not ended.wait(0.2):
        connection.sendall(b"x")


def flood(connection, ended):
    connection.recv(4096)
    connection.sendall(b"$999999999999\r\n")
    while not ended.wait(0.001):
        connection.sendall(b"x" * 65536)


def answer_other_types(connection, _):
    connection.recv(4096)
    connection.sendall(b"%1\r\n+proto\r\n:3\r\n")
    while connection.recv(4096):
        connection.sendall(b"%1\r\n+a\r\n*2\r\n:1\r\n%0\r\n")


@pytest.mark.parametrize("behave", [drip, flood, answer_other_types])
def test_what_answers_for_redis_and_is_none_costs_the_deadline_and_leaves_nothing(host, kernel, behave):
    host.publisher.publish(kernel)
    with pretended_redis(behave) as url:
        endpoints = replace(host.publisher.settings().endpoints, redis_url=url)
        loader = host.publisher.loader(deadline_s=0.8, breaker_rest_s=0.05, refresh_s=0.05, endpoints=endpoints)
        for _ in range(6):
            module, load_s = timed(lambda: loader.load(REF))
            assert load_s < 0.8 + 0.3
            loader.at_boundary()
            time.sleep(0.1)
        assert module.digest == kernel.manifest.digest
        asking = [thread for thread in threading.enumerate() if thread.name == "morph-tier"]
        # One may be under way; those that were late have ended though the server still talks.
        assert len(asking) <= 2


def test_a_process_that_may_start_no_threads_still_loads(host, kernel, monkeypatch):
    host.publisher.publish(kernel)
    host.publisher.loader().load(REF)
    plan = host.publisher.loader().plan([REF])
    join_background()

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    loader = host.publisher.loader()
    assert loader.load(REF).source in {"disk", "process"}
    assert loader.prefetch(plan) is None
    loader.at_boundary()
    fresh = host.publisher.loader("fresh")
    assert fresh.load(kernel.blueprint).reason is not None
