"""`morph bench checkpoint`, its short form: what it says of a save and of others' is measured, not claimed."""

import json

import pytest

from tests.cli.test_bench import ROW
from tests.support.command_line import run_morph

pytestmark = pytest.mark.slow

OURS = "ours, one file as ledger"
PEERS = {"DCP sync", "DCP async thread", "DCP async process", "safetensors + fsync", "torch.save + fsync"}
METRICS = {
    "blocked": "ms",
    "blocked, against the memcpy": "1",
    "acknowledged": "s",
    "training lost a save": "ms",
    "wall time lost, a save every 30 s": "%",
    "bytes written, for each changed one": "1",
    "a flipped bit is found": "1",
}


def test_the_benchmark_of_checkpoints_measures_ours_and_others_alike(tmp_path):
    size = ["--megabytes", "4", "--rounds", "1", "--window-s", "0.05", "--no-registry", "--folder", str(tmp_path)]
    result = json.loads(run_morph("bench", "checkpoint", *size, "--json", cwd=tmp_path).stdout)

    assert {frozenset(row) for row in result["rows"]} == {frozenset(ROW)}
    rows = {(row["case"], row["metric"]): row for row in result["rows"]}
    wanted = {(case, metric): unit for case in {OURS, *PEERS} for metric, unit in METRICS.items()}
    assert {place: rows[place]["unit"] for place in wanted} == wanted
    assert rows.keys() - wanted == {
        ("memcpy of the same bytes", "blocked"),
        (OURS, "restored and verified"),
        *((peer, "restored") for peer in PEERS),
    }
    assert rows[OURS, "a flipped bit is found"]["holds"] is True
    assert rows[OURS, "acknowledged"]["answer"] == "durable, all or nothing, verified"
    assert 1 <= rows[OURS, "bytes written, for each changed one"]["median"] < 1.2
    # Who writes everything each time writes five times what changed; and only what nobody measured has no median.
    assert all(rows[peer, "bytes written, for each changed one"]["median"] > 4.9 for peer in PEERS)
    assert all(row["median"] is not None for row in result["rows"])
    goals = {case for case, metric in rows if rows[case, metric]["goal"] is not None}
    assert goals == {OURS}
    assert list(tmp_path.iterdir()) == []
