"""The demo as one function: everything is set up here, and what came of it is written down."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from morph_assets.config import read_folders
from morph_assets.demo.digits import GROWTH
from morph_assets.demo.library import choose_blueprints, materialise_library
from morph_assets.demo.picture import draw_training
from morph_assets.demo.play import (
    EPOCHS,
    KILL_AFTER,
    Event,
    Listener,
    Training,
    new_run_name,
    train_straight,
    train_through_a_kill,
)
from morph_assets.demo.summary import DemoSummary, KernelFacts, summarise_training
from morph_assets.platform import Platform
from morph_assets.progress import Progress
from morph_kernels.loader import KernelLoader


def play_demo(names: Sequence[str], progress: Progress) -> tuple[DemoSummary, Path]:
    """Play the whole demo against a running platform; return what it found and the folder that holds it.

    Args:
        names: blueprints of the library; all of them when empty. Those that the network grows are always among them.
        progress: opens a bar, `progress(text, total=)`, which is told `advance(count, text)`.

    Raises:
        MorphError: a part of it failed; what was done stays.
    """
    from dagster import DagsterInstance

    started = time.monotonic()
    folder = read_folders().home / "demo"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths = choose_blueprints(sorted({*names, *GROWTH}) if names else [])
    with Platform.connect() as platform, DagsterInstance.get() as instance:
        already = {record.digest for record in platform.list_kernels()}
        with progress("building and proving kernels", total=len(paths)) as advance:
            materialise_library(platform, paths, instance, lambda name: advance(1, f"published {name}"))
        refs = [f"{path.stem}@production" for path in paths]
        plan = folder / "plan.json"
        plan.write_bytes(KernelLoader().plan(refs).to_bytes())
        run = new_run_name()
        with progress("training, to be killed midway", total=EPOCHS) as advance:
            killed = train_through_a_kill(folder, run, plan, _listener(advance))
        with progress("training without a kill", total=EPOCHS) as advance:
            straight = train_straight(folder, f"{run}-straight", plan, _listener(advance))
        published = sum(platform.find_kernel(f"{path.stem}@production").state == "PUBLISHED" for path in paths)
        kernels = tuple(_kernel_facts(platform, path.stem, killed, already) for path in paths)
    summary = DemoSummary(
        kernels=kernels,
        kernels_published=published,
        kernels_built_now=sum(kernel.built_now for kernel in kernels),
        epochs=EPOCHS,
        killed_after_epoch=KILL_AFTER,
        run=run,
        wall_s=time.monotonic() - started,
        **summarise_training(killed, straight),
    )
    draw_training(killed, folder / "training.png")
    (folder / "summary.json").write_text(json.dumps(summary.to_document(), indent=2) + "\n", encoding="utf-8")
    return summary, folder


def _listener(advance: Callable[[int, str], None]) -> Listener:
    """Move a bar on with every epoch, and say what happens in between."""
    return lambda event: advance(int(event["event"] == "epoch"), _sentence(event))


def _sentence(event: Event) -> str:
    match event["event"]:
        case "loaded":
            return f"loaded {event['name']} from {event['source']} in {event['ms']:.1f} ms"
        case "resumed":
            return f"recovered at epoch {event['epoch']}"
        case "epoch":
            grown = "".join(f", {slot} {after}" for slot, _, after in event["transitions"])
            return f"epoch {event['epoch']} of {EPOCHS}: test accuracy {event['test_accuracy']:.1%}{grown}"
    return str(event["event"])


def _kernel_facts(platform: Platform, name: str, training: Training, already: set[Any]) -> KernelFacts:
    built, evaluated = platform.compile_kernel(name), platform.evaluate_kernel(name)
    loaded = next(event for event in training.of("loaded") if event["name"] == name)
    measured = {(m.metric, m.shape_class): m.value for m in evaluated.measurements}
    step = measured["latency_us", ""]
    middle = next(shape for (metric, shape), value in measured.items() if metric == "step_us" and value == step)
    return KernelFacts(
        name=name,
        digest=built.digest,
        target=platform.find_kernel(built.digest).isa,
        build_s=built.wall_s,
        built_now=built.digest not in already,
        load_ms=loaded["ms"],
        load_source=loaded["source"],
        step_compiled_us=step,
        step_eager_us=measured["step_eager_us", middle],
        worst_gradient_error=measured["worst_gradient_error", ""],
    )
