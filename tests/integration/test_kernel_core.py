"""The riskiest things, on the thin half alone: compile, sign, load elsewhere, swap on two ranks, die, repeat."""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.core_rank import ALL_READY, HIDDEN, INDEX, NAMES
from tests.support.publishing import Publisher

pytestmark = pytest.mark.slow

EPOCHS, KILLED_AFTER = 8, 6
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def publisher(tmp_path_factory, compiled):
    publisher = Publisher(tmp_path_factory.mktemp("publisher"))
    for name in NAMES:
        publisher.publish(compiled(name))
    return publisher


class Job:
    """Two rank processes, and what they told."""

    def __init__(self, stack, publisher, folder, *, resume=False):
        self.told = [[], []]
        if not resume:
            shutil.copytree(publisher.folder / "objects", folder / "store")
            (folder / "store" / INDEX).rename(folder / "store" / HIDDEN)
        meeting = folder / f"meeting-{resume}"
        self.processes = [
            stack.enter_context(self._start(publisher, folder, meeting, rank, resume=resume)) for rank in range(2)
        ]

    def _start(self, publisher, folder, meeting, rank, *, resume):
        options = {
            "rank": rank,
            "meeting": str(meeting),
            "resume": resume,
            "epochs": EPOCHS,
            "checkpoints": str(folder),
            "cache": str(folder / "cache"),
            "store": str(folder / "store"),
            "trust_file": str(publisher.folder / "trust" / "trust.json"),
        }
        return subprocess.Popen(
            [sys.executable, "-m", "tests.support.core_rank", json.dumps(options)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}"},
            stdout=subprocess.PIPE,
            stderr=(folder / f"rank{rank}.log").open("a"),
            text=True,
        )

    def listen(self, rank, until):
        """Read what a rank tells until a line fulfils the condition or the rank ends."""
        for line in self.processes[rank].stdout:
            self.told[rank].append(json.loads(line))
            if until(self.told[rank][-1]):
                return self.told[rank][-1]
        return None

    def finish(self):
        """Return the last line of each rank, which must end well."""
        last = [self.listen(rank, lambda told: "bits" in told) for rank in range(2)]
        assert [process.wait() for process in self.processes] == [0, 0], last
        return last

    def kill(self):
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()


@pytest.mark.timeout(280)
def test_a_killed_job_on_two_ranks_repeats_every_bit_with_the_same_bodies(publisher, tmp_path):
    with ExitStack() as stack:
        straight = Job(stack, publisher, tmp_path / "straight")
        expected = straight.finish()
        bodies = {line["epoch"]: line["bodies"] for line in straight.told[0] if "epoch" in line}
        # One rank alone had the kernels at the boundary before: nobody switched there.
        assert set(bodies[ALL_READY - 1].values()) == {"eager"}
        assert "eager" not in bodies[ALL_READY].values()
        assert [line for line in straight.told[1] if "epoch" in line] == [
            line for line in straight.told[0] if "epoch" in line
        ]
        assert all(last["calls"]["compiled"] > 0 and last["compiler"] is False for last in expected)

        killed = Job(stack, publisher, tmp_path / "killed")
        killed.listen(0, lambda told: told.get("epoch") == KILLED_AFTER)
        killed.kill()
        resumed = Job(stack, publisher, tmp_path / "killed", resume=True)
        found = resumed.finish()
        assert resumed.told[0][0]["resumed"] >= KILLED_AFTER
        assert resumed.told[0][0]["exact"] is True
        assert [last["bits"] for last in found] == [last["bits"] for last in expected]


FRESH = """
import json, sys
import torch
from pathlib import Path
from morph_kernels.loader import KernelLoader
from morph_kernels.settings import read_settings
torch.set_num_threads(int(sys.argv[1]))
loader = KernelLoader(read_settings())
worst = 0.0
sources = []
for name in sys.argv[2:]:
    kernel = loader.load(name).train()
    sources.append(kernel.source)
    eager = kernel.blueprint.build(0).train()
    sizes = {symbol: min(64, allowed.max) for symbol, allowed in kernel.blueprint.interface.symbols.items()}
    (x,) = kernel.blueprint.interface.example_inputs(sizes)
    results = []
    for module in (kernel, eager):
        torch.manual_seed(5)
        y = module(x)
        y.square().mean().backward()
        results.append([y.detach(), *(p.grad for p in module.parameters())])
    scale = max(float(t.abs().max()) for t in results[1])
    worst = max(worst, *(float((a - b).abs().max()) / scale for a, b in zip(*results)))
    assert kernel.calls == {"compiled": 1}, kernel.calls
heavy = ("dagster", "torch._dynamo", "torch._inductor", "redis", "obstore", "psycopg")
print(json.dumps({"worst": worst, "sources": sources, "imported": [m for m in heavy if m in sys.modules]}))
"""


@pytest.mark.parametrize("threads", [1, 3, 16])
def test_a_fresh_process_loads_verified_kernels_with_any_number_of_threads(publisher, threads, tmp_path):
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "kernels"),
        "MORPH_STORE_URL": publisher.store_url,
        "MORPH_TRUST_FILE": str(publisher.folder / "trust" / "trust.json"),
        "MORPH_CACHE_DIR": str(tmp_path / "cache"),
        "MORPH_DEADLINE_S": "10",
    }
    command = [sys.executable, "-c", FRESH, str(threads), *(f"{name}@production" for name in NAMES)]
    found = []
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        found.append(json.loads(done.stdout))
    assert [facts["sources"] for facts in found] == [["store", "store"], ["disk", "disk"]]
    assert all(facts["worst"] < 1e-5 for facts in found)
    assert found[0]["imported"] == ["obstore"]
    assert found[1]["imported"] == [], "a disk hit needs no server's library"
