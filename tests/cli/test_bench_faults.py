"""`morph bench faults`, its short form: every fault strikes a real load, and what it says of it is true."""

import json
import signal
from dataclasses import replace

import pytest

from morph_assets.bench.bench_kernel import build_bench_kernel
from morph_assets.bench.fault_cases import list_faults
from morph_assets.bench.fault_ground import UnhealthyError, open_fault_ground
from morph_assets.bench.faults_bench import bench_faults, plan_fault_row
from morph_assets.bench.load_server import LoadReply
from tests.cli.test_bench import ROW
from tests.support.command_line import run_morph

pytestmark = pytest.mark.slow

ANSWERS = {
    "disk: corrupted library": {"store"},
    "disk: truncated library": {"store"},
    "disk: substituted library": {"store"},
    "disk: manifest of a later format": {"store"},
    "disk: flushed": {"store"},
    "disk: read-only, kernel there": {"disk"},
    "disk: two processes racing": {"store", "disk"},
    "disk: a process killed in every write": {"store", "disk"},
    "redis: refused": {"store"},
    "redis: black-holed, connecting": {"store"},
    "redis: black-holed, connected": {"store"},
    "redis: slow, 200 ms an answer": {"redis"},
    "redis: flushed": {"store"},
    "redis: wrong password": {"store"},
    "redis: corrupted value": {"store"},
    "redis: substituted entry": {"store"},
    "store: black-holed, connected": {"eager: deadline"},
    "store: slow, 200 ms an answer": {"store"},
    "store: wrong secret": {"eager: unavailable"},
    "store: truncated value": {"eager: malformed"},
    "store: decompression bomb": {"eager: too_large"},
    "store: substituted entry": {"eager: digest_mismatch"},
    "control: a trap that all keys vouch for": {"eager: load_failed", "sprung"},
}


@pytest.fixture
def kernels(compiled, kernel_cache):
    """A folder with the kernel, built by the session where it is not yet: both keep kernels in the same way."""
    compiled("ffn_gelu")
    return kernel_cache


@pytest.fixture
def kernel(kernels):
    return build_bench_kernel(kernels)


@pytest.mark.timed
def test_under_every_fault_a_load_answers_in_time_and_runs_nothing_substituted(tmp_path, kernels):
    options = ["--rounds", "1", "--kill-every", "6", "--no-peers", "--kernels", str(kernels), "--json"]
    finished = run_morph("bench", "faults", *options, cwd=tmp_path)
    result = json.loads(finished.stdout)

    assert {frozenset(row) for row in result["rows"]} == {frozenset(ROW)}
    rows = {(row["case"], row["metric"]): row for row in result["rows"]}
    measured = [row for row in result["rows"] if row["goal"] is not None]
    assert len(measured) >= len(list_faults()) + 2
    assert [row["case"] for row in measured if not row["holds"]] == []
    assert result["holds"]
    wrong = {
        case: row["answer"]
        for case, wanted in ANSWERS.items()
        for row in [next(row for row in result["rows"] if row["case"] == case)]
        if not set(row["answer"].split(", ")) <= wanted
    }
    assert wrong == {}
    killed = rows["disk: a process killed in every write", "added delay"]["n"]
    changes = rows["disk: a process killed in every write", "changes of the disk in a load"]["median"]
    # What is written behind the caller's back comes on top.
    assert changes > 30
    assert killed >= changes // 6
    # What a slow server costs is what the wires make it: each answer is 200 ms late.
    assert rows["redis: slow, 200 ms an answer", "added delay"]["median"] > 300
    assert list(tmp_path.iterdir()) == []


def test_a_fault_strikes_the_load_that_it_is_meant_for(kernel):
    with open_fault_ground(kernel) as ground:
        healthy = ground.client.load(ground.order("disk"))
        nowhere = ground.client.load(replace(ground.order("disk"), name="not a name"))
        killed = ground.client.load(replace(ground.order("folder store"), kill_at=7))
        full = ground.client.load(replace(ground.order("folder store"), disk="full"))
        later = ground.client.load(replace(ground.order("disk"), clock_s=400 * 24 * 3600))

    assert (healthy.answer, healthy.died, healthy.error) == ("disk", 0, None)
    assert nowhere.error.startswith("BlueprintRuleError")
    assert (killed.died, killed.answer) == (signal.SIGKILL, "ended by signal 9")
    assert full.answer == "store"
    assert later.answer == "eager: index_expired"


@pytest.mark.parametrize(
    ("reply", "sprung"),
    [
        (LoadReply("store", seconds=2.2), False),
        (LoadReply(error="RuntimeError: no"), False),
        (LoadReply(died=signal.SIGBUS), False),
        (LoadReply("store", seconds=0.1), True),
    ],
    ids=["late", "raised", "died", "ran the trap"],
)
def test_one_load_that_goes_wrong_is_told(reply, sprung):
    fine = [LoadReply("store", seconds=0.1), LoadReply("eager", "deadline", 2.0)]
    facts = {"healthy_ms": 50.0, "deadline_s": 2.0}
    good = plan_fault_row("case", fine, sprung=False, **facts)
    assert (good.holds, good.answer, good.max) == (True, "store, eager: deadline", 1950)
    assert plan_fault_row("case", [*fine, reply], sprung=sprung, **facts).holds is False


def test_a_benchmark_of_a_kernel_that_cannot_be_loaded_says_so(kernel):
    damaged = replace(kernel, bundle=replace(kernel.bundle, libraries={"forward": b"x", "backward": b"y"}))
    with pytest.raises(UnhealthyError, match="a healthy load from the disk answered eager"):
        bench_faults(damaged)
