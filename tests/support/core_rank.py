"""One rank of a job that grows: eager at first, compiled from the boundary on at which both ranks have the kernels.

Run as `python -m tests.support.core_rank '<json>'`; prints one JSON line an epoch, and digests of its bits at the end.
"""

import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from morph_kernels.blueprint import library
from morph_kernels.checkpoint import Checkpointer, SqliteLedger
from morph_kernels.loader import KernelLoader
from morph_kernels.settings import Endpoints, RuntimeSettings
from morph_kernels.store import open_store
from morph_kernels.training import EpochLoop, GrowingRun, SeedSlot
from tests.support.growing_runs import Script, bits

NAMES = ("ffn_gelu", "squeeze_excite")
PLAN = {
    1: [("slot_a", "germinate", "ffn_gelu"), ("slot_b", "germinate", "squeeze_excite")],
    2: [("slot_a", "train", None), ("slot_b", "train", None)],
    3: [("slot_a", "graft", None)],
    4: [("slot_b", "graft", None)],
}
# torch.optim itself imports the outskirts of Inductor; this is the compiler.
COMPILER = "torch._inductor.compile_fx"
FIRST_RANK_READY, ALL_READY = 4, 5
# Where a store keeps the indexes of the tenant; the test hides them until they are to be published.
INDEX, HIDDEN = Path("tenants/default/index"), Path("hidden")


class Host(nn.Module):
    """A feed-forward slot, then a convolutional one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.slot_a = SeedSlot(ramp_steps=6)
        self.slot_b = SeedSlot(ramp_steps=6)
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.slot_a(torch.relu(self.first(x)))
        return self.head(self.slot_b(x.view(-1, 16, 2, 2)).flatten(1))


class ArrivingKernels:
    """The loader of a job during which kernels are published: on the first rank one boundary before the others."""

    def __init__(self, loader: KernelLoader, rank: int, store: Path) -> None:
        self.loader, self._rank, self._boundary = loader, rank, 0
        self._hidden, self._index = store / HIDDEN, store / INDEX

    def load(self, what: Any, *, seed: int = 0) -> nn.Module:
        return self.loader.load(what, seed=seed)

    def load_pinned(self, blueprint: Any, *, body: str) -> nn.Module:
        return self.loader.load_pinned(blueprint, body=body)

    def at_boundary(self, group: Any = None) -> object:
        self._boundary += 1
        if self._rank == 0 and self._boundary == FIRST_RANK_READY:
            self._hidden.rename(self._index)
        if self._boundary >= (FIRST_RANK_READY if self._rank == 0 else ALL_READY):
            self.loader.prefetch(self.loader.plan(NAMES)).join()
        return self.loader.at_boundary(group)


def batches(_epoch: int):
    """Draw batches from the global generator, another one on each rank."""
    for _ in range(4):
        x = torch.randn(16, 64)
        yield x, x[:, :10].argmax(dim=1)


def validate(model: nn.Module) -> float:
    """The loss on fixed data."""
    x = torch.linspace(-1, 1, 20 * 64).reshape(20, 64)
    return float(nn.functional.cross_entropy(model(x), torch.arange(20) % 10))


def main(options: dict[str, Any]) -> None:
    """Train, telling what is saved."""
    rank = options["rank"]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{options['meeting']}", rank=rank, world_size=2)
    loader = KernelLoader(read_settings(options))
    torch.manual_seed(rank)
    run, loop = build(options, loader, rank)
    if options["resume"]:
        report = loop.resume(bodies="pinned")
        tell(resumed=report.epoch, exact=report.exact, reasons=list(report.reasons))
    while loop.epoch < options["epochs"]:
        loop.run_epochs(loop.epoch + 1)
        tell(epoch=loop.epoch, bodies={graft.slot: graft.body for graft in run.grafts()})
    found = {name: hashlib.sha256(data).hexdigest()[:16] for name, data in bits(run).items()}
    # A seed remembers the checkpoint before its graft by its random id; everything else must be the same.
    for name, slot in run.slots.items():
        found[f"seed {name}"] = repr({**slot.describe(), "known_good": None})
    tell(bits=found, calls=loader.stats()["calls"], compiler=COMPILER in sys.modules)
    dist.destroy_process_group()


def build(options: dict[str, Any], loader: KernelLoader, rank: int) -> tuple[GrowingRun, EpochLoop]:
    """Make the run and its loop."""
    controller = Script(PLAN)
    torch.random.manual_seed(100 + rank)
    generator = torch.get_rng_state()
    torch.manual_seed(7)
    host = Host()
    torch.set_rng_state(generator)
    group = dist.group.WORLD
    run = GrowingRun(
        host,
        torch.optim.AdamW(host.parameters(), lr=1e-2),
        kernels=ArrivingKernels(loader, rank, Path(options["store"])),
        blueprints={blueprint.name: blueprint for blueprint in library()},
        parts={"controller": controller},
        wrap=DistributedDataParallel,
    )
    folder = Path(options["checkpoints"])
    checkpointer = Checkpointer(
        run="core", store=open_store(f"file://{folder}/objects"), ledger=SqliteLedger(folder / "ledger"), group=group
    )
    loop = EpochLoop(
        run,
        batches=batches,
        loss=nn.functional.cross_entropy,
        validate=validate,
        controller=controller,
        checkpointer=checkpointer,
        group=group,
    )
    return run, loop


def read_settings(options: dict[str, Any]) -> RuntimeSettings:
    """Each rank has a cache folder of its own, as ranks on two hosts have."""
    endpoints = Endpoints(store_url=f"file://{options['store']}", trust_file=Path(options["trust_file"]))
    settings = RuntimeSettings(endpoints=endpoints, deadline_s=10.0)
    return replace(settings, cache_dir=Path(options["cache"]) / f"rank{options['rank']}")


def tell(**facts: object) -> None:
    """Print one line for the test."""
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
