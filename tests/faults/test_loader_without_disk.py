"""A node disk that takes nothing: the kernel runs from memory, as verified as from anywhere."""

import json
import os
import subprocess
import sys

import pytest

from morph_kernels.artifact.bundle import encode_bundle
from tests.support.command_line import IMPORT_PATH

NAME = "ffn_gelu"
STEP = """
import json, os, sys
from morph_kernels import KernelLoader
from tests.support.hostile_host import assert_works
loader = KernelLoader()
module = loader.load("ffn_gelu@production")
assert_works(module)
held = [f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd") if n.isdigit()]
memory = [path for path in held if os.path.exists(path) and "morph-library" in os.readlink(path)]
def writable(path):
    try:
        with open(path, "r+b") as file:
            file.write(b"x")
    except PermissionError:
        return False
    return True
again = loader.load("ffn_gelu@production").source
sys.stdout.write(json.dumps({
    "source": module.source, "reason": module.reason, "calls": dict(module.calls), "again": again,
    "in_memory": len(memory), "writable": any(map(writable, memory)), "refused": loader.stats()["refused"],
}))
"""


def put_a_file_there(cache):
    cache.write_text("not a folder")


def let_others_write(cache):
    cache.mkdir()
    cache.chmod(0o777)


def leave_it(cache):
    assert not cache.exists()


def take_a_step(publisher, cache, **changes):
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": IMPORT_PATH,
        "MORPH_STORE_URL": publisher.store_url,
        "MORPH_TRUST_FILE": str(publisher.folder / "trust" / "trust.json"),
        "MORPH_CACHE_DIR": str(cache),
        "MORPH_DEADLINE_S": "20",
    } | changes
    done = subprocess.run([sys.executable, "-c", STEP], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("obstruct", "changes"),
    [
        (put_a_file_there, {}),
        (let_others_write, {}),
        (leave_it, {"MORPH_DISK_BUDGET_BYTES": "1000"}),
    ],
)
def test_a_kernel_runs_from_sealed_memory_where_the_disk_takes_none(host, compiled, tmp_path, obstruct, changes):
    host.publisher.publish(compiled(NAME))
    cache = tmp_path / "obstructed"
    obstruct(cache)
    step = take_a_step(host.publisher, cache, **changes)
    assert (step["source"], step["calls"], step["again"]) == ("store", {"compiled": 1}, "process")
    assert (step["in_memory"], step["writable"]) == (2, False)
    assert any(reason.startswith("disk:") for reason in step["refused"])


def test_what_is_substituted_does_not_run_from_memory_either(host, compiled, tmp_path):
    kernel = compiled(NAME)
    host.publisher.publish(kernel)
    trapped = host.trap.kernel(kernel)
    host.plant_bundle("store", kernel.manifest, encode_bundle(trapped.bundle))
    cache = tmp_path / "obstructed"
    put_a_file_there(cache)
    step = take_a_step(host.publisher, cache)
    assert (step["source"], step["reason"], step["in_memory"]) == ("eager", "digest_mismatch", 0)
    assert not host.trap.was_sprung
