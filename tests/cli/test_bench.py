"""`morph bench`: every benchmark answers in one form, and touches no platform that runs."""

import json
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from morph_assets.bench.registry_bench import BrokenBenchError, RegistrySize
from morph_assets.bench.result import BenchResult, percentile, plan_row
from tests.support.command_line import clean_environment, morph_command, run_morph

ROW = {"case", "metric", "unit", "median", "min", "max", "n", "goal", "holds", "answer"}


@pytest.mark.slow
def test_the_registrys_benchmark_answers_in_the_schema_of_all_benchmarks(tmp_path):
    finished = run_morph("bench", "registry", "--kernels", "2000", "--tenants", "2", "--json", cwd=tmp_path)
    result = json.loads(finished.stdout)

    assert set(result) == {"bench", "machine", "holds", "rows"}
    assert result["bench"] == "registry"
    assert (result["machine"]["kernels"], result["machine"]["tenants"]) == (2000, 2)
    assert all(set(row) == ROW for row in result["rows"])
    assert result["holds"] == all(row["holds"] is not False for row in result["rows"])
    assert all(0 <= row["min"] <= row["median"] <= row["max"] for row in result["rows"])
    cases = {row["case"] for row in result["rows"] if row["goal"] is not None}
    assert {"bulk load", "8 readers beside a writer", "lineage, depth 6", "publish a kernel", "verify the log"} <= cases
    assert sum(case.startswith("search, ") for case in cases) >= 6
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_benchmark_that_is_ended_takes_its_servers_with_it(tmp_path):
    folder = Path(tempfile.mkdtemp(prefix="mb-", dir="/tmp"))
    with subprocess.Popen(
        morph_command("bench", "registry"),
        cwd=tmp_path,
        env=clean_environment(TMPDIR=str(folder)),
        stderr=subprocess.PIPE,
        text=True,
    ) as bench:
        assert "loading" in bench.stderr.readline()
        assert list(folder.iterdir()) != []
        bench.terminate()
        assert bench.wait(60) == 128 + signal.SIGTERM
    assert list(folder.iterdir()) == []
    folder.rmdir()


def test_too_few_kernels_are_refused():
    with pytest.raises(BrokenBenchError, match="fewer than 1000"):
        RegistrySize.of(1999, 2)


def test_a_row_holds_where_its_median_meets_the_goal():
    fast = plan_row("a", "p50", "ms", [3.0, 1.0, 2.0], goal=2.0)
    slow = plan_row("b", "rate", "1/s", [3.0, 1.0, 2.0], goal=2.5, better="more")
    open_ended = plan_row("c", "p50", "ms", [1.23456])

    assert (fast.median, fast.min, fast.max, fast.n, fast.holds) == (2.0, 1.0, 3.0, 3, True)
    assert slow.holds is False
    assert (open_ended.median, open_ended.holds) == (1.235, None)
    assert BenchResult("x", {}, (fast, open_ended)).holds
    assert not BenchResult("x", {}, (fast, slow)).holds


def test_a_percentile_is_one_of_the_values():
    assert percentile(range(100), 0.5) == 50
    assert percentile(range(100), 0.99) == 99
    assert percentile([7.0], 0.99) == 7.0
