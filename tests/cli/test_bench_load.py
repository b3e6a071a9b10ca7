"""`morph bench load`, its short form: steps in fresh processes, from where they say, without a compiler."""

import json
import os
import subprocess
import sys

import pytest

from morph_assets.bench.bench_kernel import build_bench_kernel
from morph_assets.bench.first_step import StepOrder, children_cpu_s
from morph_assets.bench.step_process import job_environment, take_step
from tests.cli.test_bench import ROW
from tests.support.command_line import run_morph

pytestmark = pytest.mark.slow
TIERS = {"disk": "disk", "disk, relocated": "disk", "redis": "redis", "folder store": "store", "S3 store": "store"}


@pytest.fixture
def kernels(compiled, kernel_cache):
    """A folder with the kernel, built by the session where it is not yet: both keep kernels in the same way."""
    compiled("ffn_gelu")
    return kernel_cache


@pytest.fixture
def order(kernels, tmp_path):
    kernel, path = build_bench_kernel(kernels), tmp_path / "blueprint.json"
    path.write_bytes(kernel.blueprint.to_bytes())
    return StepOrder("eager", str(path), kernel.blueprint.name)


@pytest.mark.timed
def test_every_tier_gives_a_first_step_without_a_compiler(tmp_path, kernels):
    options = ["--rounds", "1", "--no-peers", "--kernels", str(kernels), "--json"]
    result = json.loads(run_morph("bench", "load", *options, cwd=tmp_path).stdout)

    assert {frozenset(row) for row in result["rows"]} == {frozenset(ROW)}
    rows = {(row["case"], row["metric"]): row for row in result["rows"]}
    assert {tier: rows[f"ours, {tier}", "first step"]["answer"] for tier in TIERS} == TIERS
    for tier in TIERS:
        assert rows[f"ours, {tier}", "compiler modules imported"]["median"] == 0
        assert rows[f"ours, {tier}", "first step, processor time of children"]["median"] == 0
        assert rows[f"ours, {tier}", "first step over eager"]["goal"] in {80.0, 500.0}
    for tier in ("disk", "redis", "folder store", "S3 store"):
        assert rows[f"load() from {tier}, in a warm process", "load"]["n"] == 5
    assert 0 < rows["a forward, body", "call"]["median"] < rows["a forward, module", "call"]["median"]
    assert list(tmp_path.iterdir()) == []


def test_a_step_that_compiles_is_told_from_one_that_does_not(order):
    eager = take_step(order).reply
    assert (eager.answer, list(eager.compilers), eager.error) == ("eager", [], None)
    assert eager.self_s > 0
    # A folder for a cache that is a file: the compiler is there, and ends the step.
    failed = take_step(
        StepOrder("compile", order.blueprint, order.name), environment={"TORCHINDUCTOR_CACHE_DIR": order.blueprint}
    )
    assert failed.reply.error is not None
    assert "torch._dynamo.eval_frame" in failed.reply.compilers
    assert failed.answer == failed.reply.error


def test_a_step_that_does_not_end_is_ended(order):
    outcome = take_step(order, patience_s=0.2)
    assert (outcome.reply, outcome.timed_out) == (None, True)
    assert outcome.answer.startswith("ended by us after")


def test_processor_time_of_children_counts_those_that_run_and_those_that_ended():
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    before = children_cpu_s()
    subprocess.run([sys.executable, "-c", burn], check=True)
    after_one = children_cpu_s()
    with subprocess.Popen(
        [sys.executable, "-c", f"{burn}\nprint('burned', flush=True)\nimport sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ,
    ) as running:
        running.stdout.readline()
        after_two = children_cpu_s()
        running.stdin.close()
    assert after_one - before >= 0.25
    assert after_two - after_one >= 0.25


def test_a_measured_job_keeps_bytecode_and_hears_nothing_of_our_settings(monkeypatch):
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("MORPH_DEADLINE_S", "0.001")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/elsewhere")
    names = set(job_environment())
    assert "PATH" in names
    assert not names & {"PYTHONDONTWRITEBYTECODE", "MORPH_DEADLINE_S", "TORCHINDUCTOR_CACHE_DIR"}
