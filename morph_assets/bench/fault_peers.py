"""What torch.compile's caches do under a few of the same faults, measured beside ours. No goal is theirs."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from morph_assets.bench.fault_ground import FaultGround
from morph_assets.bench.first_step import StepOrder
from morph_assets.bench.result import BenchRow, plan_row, unmeasured_row
from morph_assets.bench.step_process import StepOutcome, compiler_environment, remote_cache, take_step

PATIENCE_S: Final = 70.0
_STEP: Final = "first step"


def measure_peers(ground: FaultGround, *, say: Callable[[str], None]) -> Iterator[BenchRow]:
    """Yield how a first step through torch.compile goes: healthy, with Redis black-holed, with damaged entries."""
    order = StepOrder(arm="compile", blueprint=str(ground.folder / "blueprint.json"), name=ground.kernel.blueprint.name)
    model = ground.folder / "inductor"
    say("peers: torch.compile, cold")
    yield _row("torch.compile: cold", take_step(order, environment=compiler_environment(model)))
    say("peers: torch.compile, warm")
    yield _row("torch.compile: local cache, healthy", take_step(order, environment=compiler_environment(model)))
    for name, port in (("connecting", ground.deaf_port), ("connected", ground.wires["redis"].port)):
        say(f"peers: torch.compile, Redis black-holed, {name}")
        ground.wires["redis"].mode = "silent"
        environment = compiler_environment(
            ground.folder / f"inductor-{name}", **remote_cache(ground.redis.url(port=port))
        )
        outcome = take_step(order, environment=environment, patience_s=PATIENCE_S)
        ground.wires["redis"].mode = "pass"
        yield _row(f"torch.compile: Redis black-holed, {name}", outcome)
    for name, damage in _damages(ground).items():
        say(f"peers: torch.compile, {name}")
        yield _damaged_row(ground, order, model, name, damage)
    yield unmeasured_row("Triton: damaged entry", _STEP, "ms", "needs a GPU, which this benchmark does not use")


def _damages(ground: FaultGround) -> Mapping[str, tuple[str, Callable[[bytes], bytes]]]:
    return {
        "corrupted graph": ("fxgraph/*/*/*", _flip),
        "corrupted library": ("**/*.so", _flip),
        "truncated library": ("**/*.so", lambda data: data[: len(data) // 2]),
        "substituted library": ("**/*.so", lambda _: ground.trap.library),
    }


def _damaged_row(
    ground: FaultGround, order: StepOrder, model: Path, name: str, damage: tuple[str, Callable[[bytes], bytes]]
) -> BenchRow:
    pattern, change = damage
    cache = ground.folder / f"inductor-{name.replace(' ', '-')}"
    shutil.copytree(model, cache)
    files = [path for path in cache.glob(pattern) if path.is_file()]
    for path in files:
        path.write_bytes(change(path.read_bytes()))
    ground.trap.marker.unlink(missing_ok=True)
    outcome = take_step(order, environment=compiler_environment(cache), patience_s=PATIENCE_S)
    row = _row(f"torch.compile: local cache, {name}", outcome)
    ran = ", ran what was substituted" if ground.trap.was_sprung else ""
    ground.trap.marker.unlink(missing_ok=True)
    return replace(row, answer=f"{row.answer}{ran} ({len(files)} files damaged)")


def _row(case: str, outcome: StepOutcome) -> BenchRow:
    taken_s = outcome.reply.wall_s if outcome.reply is not None else outcome.ended_s
    return replace(plan_row(case, _STEP, "ms", [1000 * taken_s]), answer=outcome.answer)


def _flip(data: bytes) -> bytes:
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]
