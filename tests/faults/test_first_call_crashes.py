"""A kernel that ends its process in the first call is left alone on that host, and training goes on eager."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from morph_kernels.cache.counts import Counts
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.cache.first_calls import FirstCalls
from morph_kernels.identity import KernelDigest
from morph_kernels.loader.body import _loaded
from morph_kernels.loader.first_run import FirstRun
from morph_kernels.reasons import Reason
from tests.support.crashing_kernel import crashing_kernel
from tests.support.hostile_host import NAME, REF, assert_works

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def job(host):
    """Run a training process on the host; return what it told, or the signal that it died of."""

    def run(**environment):
        variables = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}",
            "MORPH_STORE_URL": host.publisher.store_url,
            "MORPH_TRUST_FILE": str(host.publisher.folder / "trust" / "trust.json"),
            "MORPH_CACHE_DIR": str(host.publisher.folder / "host" / "cache"),
            "MORPH_DEADLINE_S": "10",
            "MORPH_REFRESH_S": "0.001",
        }
        command = [sys.executable, "-m", "tests.support.training_job", REF]
        done = subprocess.run(
            command, env=variables | environment, capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode < 0:
            return signal.Signals(-done.returncode).name
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    return run


@pytest.fixture
def crashing(host, compiled, tmp_path):
    """Publish a kernel that dies in its first call, while `armed` is in its folder; return the kernel."""

    def publish(death, **how):
        folder = tmp_path / "crashing"
        folder.mkdir()
        kernel = crashing_kernel(compiled(NAME), death, folder, **how)
        host.publisher.publish(kernel)
        return kernel

    return publish


LOOK = """
import sys
from pathlib import Path
from morph_kernels.cache.counts import Counts
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.cache.first_calls import FirstCalls
counts = Counts()
print(len(FirstCalls(DiskFolder(Path(sys.argv[1]), tenant="default"), counts).crashes()), *counts.snapshot())
"""


def look(host):
    """Return what another process of the host sees, which looks twice at the same time."""
    command = [sys.executable, "-c", LOOK, str(host.publisher.folder / "host" / "cache")]
    environment = {"PYTHONPATH": str(ROOT / "kernels")}
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    seen = {process.communicate(timeout=60)[0].strip() for process in both}
    assert len(seen) == 1
    return seen.pop()


def test_a_call_that_is_under_way_is_no_crash_and_one_that_raised_is_none(host):
    calls = FirstCalls(host.folder(), Counts())
    trial = calls.trial(KernelDigest("a" * 64), host.publisher.folder)

    def work():
        assert len(trials(host)) == 1
        assert calls.crashes() == [], "to look must not give the lock away"
        assert look(host) == "0"
        raise RuntimeError("the library refuses")

    with pytest.raises(RuntimeError, match="refuses"):
        trial.run(work)
    assert trials(host) == []


def test_a_marker_that_nobody_holds_is_a_crash_whoever_looks(host):
    folder = host.folder().make("trials")
    (folder / f"{'a' * 64}.1.b").touch()
    assert look(host) == "1"


def test_a_proven_body_runs_without_a_trace_of_the_trial(host, compiled):
    kernel = compiled(NAME)
    host.publisher.publish(kernel)
    _loaded.pop(kernel.manifest.digest, None)  # another test's process has had its first call
    module = host.publisher.loader().load(REF)
    assert_works(module)
    calls = FirstCalls(host.folder(), Counts())
    entry = host.folder().path / "kernels" / module.digest
    assert calls.trial(module.digest, entry) is None
    body = module._bound.body
    assert not isinstance(body._forward, FirstRun)
    assert not isinstance(body._backward, FirstRun)


def test_kernel_why_tells_of_the_crash(made_platform):
    _, published = made_platform.published()
    _loaded.pop(published.digest, None)  # another test's process has it, so that it need not look
    folder = DiskFolder(made_platform.config.runtime.cache_dir, tenant=made_platform.config.tenant).make("trials")
    for number in range(2):
        marker = folder / f"{published.digest}.{number}.b"
        marker.touch()
        os.utime(marker, (time.time() - 60 * number, time.time() - 60 * number))

    found = made_platform.platform.why("ffn_gelu@production")

    assert (found.source, found.reason) == ("eager", Reason.CRASHED_HERE)
    assert [crash.digest for crash in found.crashes] == [published.digest] * 2
    assert {crash.signal for crash in found.crashes} == {None}


def disarm(host):
    (host.publisher.folder / "crashing" / "armed").unlink()


def trials(host):
    folder = host.folder().path / "trials"
    return sorted(folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("death", ["SIGILL", "SIGSEGV", "SIGABRT"])
def test_a_kernel_that_dies_of_its_own_signal_is_not_tried_again(crashing, job, death):
    crashing(death)
    assert job() == death
    told = job()
    assert (told["source"], told["reason"], told["calls"]) == ("eager", "crashed_here", {"crashed_here": 3})
    assert told["stats"]["refused"] == {"disk:crashed_here": 1}
    assert told["stats"]["loads"] == {"eager:crashed_here": 1}


def test_without_a_known_signal_it_takes_two_deaths(crashing, job):
    # Somebody else is told of fatal signals here, so the loader is not.
    crashing("SIGILL")
    assert [job(PYTHONFAULTHANDLER="1") for _ in range(2)] == ["SIGILL", "SIGILL"]
    told = job(PYTHONFAULTHANDLER="1")
    assert (told["source"], told["reason"], told["calls"]) == ("eager", "crashed_here", {"crashed_here": 3})


def test_a_healthy_kernel_that_was_killed_once_in_its_first_call_is_used_again(host, crashing, job):
    crashing("SIGKILL", once=True)
    assert job() == "SIGKILL"
    assert len(trials(host)) == 1
    told = job()
    assert (told["source"], told["calls"]) == ("disk", {"compiled": 3})
    assert trials(host) == [], "what is proven is not held against it"


def test_after_a_day_it_is_tried_again(host, crashing, job):
    crashing("SIGILL")
    assert job() == "SIGILL"
    (marker,) = trials(host)
    yesterday = time.time() - 25 * 3600
    os.utime(marker, (yesterday, yesterday))
    assert job() == "SIGILL"
    assert len(trials(host)) == 1
    assert job()["reason"] == "crashed_here"


def test_other_bytes_of_the_same_blueprint_are_tried_at_once(host, crashing, compiled, job):
    crashing("SIGILL")
    assert job() == "SIGILL"
    host.publisher.publish(compiled(NAME))
    assert job()["calls"] == {"compiled": 3}


def test_where_another_variant_is_left_that_one_runs(host, crashing, compiled, job):
    crashed, healthy = crashing("SIGILL"), compiled(NAME)
    host.publisher.publish(healthy)
    both = [replace(host.publisher.variant(crashed), speed_ratio=9.0), host.publisher.variant(healthy)]
    host.publisher.publish_index(healthy, both)
    assert job() == "SIGILL"
    told = job()
    assert told["calls"] == {"compiled": 3}
    assert told["stats"]["refused"] == {"disk:crashed_here": 1}


def test_a_proven_kernel_costs_no_marker_and_computes_the_same(host, compiled, job):
    kernel = compiled(NAME)
    host.publisher.publish(kernel)
    first = job()
    (mark,) = (host.folder().path / "kernels" / kernel.manifest.digest).glob("proven-*")
    status = mark.stat()
    folder = host.folder().path / "trials"
    folder.rmdir()
    second = job()
    assert first["calls"] == second["calls"] == {"compiled": 3}
    assert first["sum"] == second["sum"]
    assert not folder.exists()
    assert (mark.stat().st_mtime_ns, mark.stat().st_size) == (status.st_mtime_ns, 0)


def test_on_another_host_a_proof_is_none(host, crashing, job):
    kernel = crashing("SIGILL")
    disarm(host)
    assert job()["calls"] == {"compiled": 3}
    entry = host.folder().path / "kernels" / kernel.manifest.digest
    (mark,) = entry.glob("proven-*")
    mark.rename(entry / "proven-of-another-host")
    (host.publisher.folder / "crashing" / "armed").touch()
    assert job() == "SIGILL"
    assert job()["reason"] == "crashed_here"


def test_where_no_marker_can_be_written_training_goes_on_and_it_is_counted(host, compiled, job):
    host.publisher.publish(compiled(NAME))
    host.folder().make("kernels")
    (host.folder().path / "trials").write_text("no folder")
    told = job()
    assert told["calls"] == {"compiled": 3}
    assert told["stats"]["refused"]["trials:FileExistsError"] >= 1
