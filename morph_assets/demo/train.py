"""The training process of the demo: the thin half and nothing of the platform. Prints one JSON line an event.

Run as `python -m morph_assets.demo.train --run NAME --epochs N [--resume]`.
"""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

import torch
from torch.nn import functional

from morph_assets.demo.digits import GROWTH, DigitsHost, Part, accuracy, draw_batches, load_digits
from morph_kernels import KernelLoader
from morph_kernels.artifact.signing import load_signer
from morph_kernels.checkpoint import Checkpointer, PostgresLedger
from morph_kernels.loader import RunPlan
from morph_kernels.settings import RuntimeSettings, read_settings
from morph_kernels.store import open_store
from morph_kernels.training import EpochLoop, EpochReport, GrowingRun, HeuristicController
from morph_kernels.training.controller import Patience

BATCH, RAMP_STEPS, SEED = 32, 30, 11
# A run that was killed is taken over once its lease has ended.
LEASE_S = 3.0
# torch.optim itself imports the outskirts of torch._inductor; these are the compiler.
COMPILER_MODULES = ("torch._inductor.compile_fx", "torch._inductor.codecache", "torch._inductor.graph")


def main() -> None:
    """Train to the last epoch, saving at every boundary; say what happens."""
    options = _parse_arguments()
    torch.set_num_threads(1)
    settings = read_settings()
    plan = RunPlan.from_bytes(options.plan.read_bytes())
    loader = KernelLoader(settings, plan=plan)
    load_all(loader, plan)
    loop, checkpointer, test = _build(options.run, settings, loader)
    if options.resume:
        resumed = loop.resume(bodies="pinned")
        say("resumed", epoch=resumed.epoch, step=resumed.step, exact=resumed.exact)
    while loop.epoch < options.epochs:
        # More than one where a controller rolls a graft back: the epochs since then are trained again.
        for report in loop.run_epochs(loop.epoch + 1):
            say_epoch(loop, report, test)
    checkpointer.close()
    imported = [module for module in COMPILER_MODULES if module in sys.modules]
    say("finished", bits=fingerprint(loop.run), stats=loader.stats(), compiler_modules=imported)


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the demo's network.")
    parser.add_argument("--run", required=True)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--epochs", type=int, required=True)
    parser.add_argument("--resume", action="store_true")
    return parser.parse_args()


def _build(run_name: str, settings: RuntimeSettings, loader: KernelLoader) -> tuple[EpochLoop, Checkpointer, Part]:
    data = load_digits()
    torch.manual_seed(SEED)
    host = DigitsHost(ramp_steps=RAMP_STEPS)
    controller = HeuristicController(
        [f"{name}@production" for name in GROWTH],
        patience=Patience(plateau=1, better_by=0.02, training=1, stabilization=1, fine_tuning=2, tolerance=2.0),
    )
    run = GrowingRun(
        host,
        torch.optim.AdamW(host.parameters(), lr=2e-3),
        kernels=loader,
        parts={"controller": controller},
        seed=SEED,
    )
    checkpointer = Checkpointer(
        run=run_name,
        store=open_store(str(settings.endpoints.store_url)),
        ledger=PostgresLedger(str(settings.endpoints.database_url("trainer"))),
        tenant=settings.tenant,
        lease_ttl_s=LEASE_S,
        signer=load_signer(key) if (key := settings.endpoints.trainer_key) else None,
    )
    loop = EpochLoop(
        run,
        batches=lambda _: draw_batches(data.training, size=BATCH),
        loss=functional.cross_entropy,
        validate=lambda model: float(functional.cross_entropy(model(data.validation.images), data.validation.labels)),
        controller=controller,
        checkpointer=checkpointer,
    )
    return loop, checkpointer, data.test


def load_all(loader: KernelLoader, plan: RunPlan) -> None:
    """Load every kernel of the plan once, and say from where and how fast."""
    for ref in plan.kernels:
        started = time.perf_counter()
        kernel = loader.load(str(ref))
        milliseconds = (time.perf_counter() - started) * 1e3
        say("loaded", name=ref.name, source=kernel.source, reason=kernel.reason, ms=milliseconds, digest=kernel.digest)


def say_epoch(loop: EpochLoop, report: EpochReport, test: Part) -> None:
    """Say what an epoch did, once it is saved."""
    loop.run.model.eval()
    say(
        "epoch",
        epoch=report.epoch,
        step=report.step,
        training_loss=report.training_loss,
        validation_loss=report.validation_loss,
        test_accuracy=accuracy(loop.run.model, test),
        transitions=[[change.slot, str(change.before), str(change.after)] for change in report.transitions],
        bodies={graft.slot: graft.body for graft in loop.run.grafts()},
    )


def fingerprint(run: GrowingRun) -> str:
    """Return a digest of every bit that training depends on: tensors, optimizer state by name, generator."""
    names = {id(parameter): name for name, parameter in run.model.named_parameters()}
    tensors = {**run.model.state_dict(), "generator": torch.get_rng_state()}
    for parameter, values in run.optimizer.state.items():
        tensors |= {f"{names[id(parameter)]}/{key}": value for key, value in values.items()}
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def say(event: str, **facts: object) -> None:
    """Print one event as a line of JSON."""
    sys.stdout.write(json.dumps({"event": event, "at": time.time(), **facts}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
