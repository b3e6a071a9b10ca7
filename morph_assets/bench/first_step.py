"""One training step in a fresh process: what a job waits for, from `import torch` to its first gradients.

Run as `python -m morph_assets.bench.first_step '<an order as JSON>'`.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

Arm = Literal["eager", "ours", "compile"]
# Imported by whoever compiles. `torch._inductor` itself comes along with other things.
COMPILERS: Final = ("torch._dynamo.eval_frame", "torch._inductor.compile_fx")
_PARENT_FIELD, _TIME_FIELDS = 1, slice(11, 15)  # of /proc/PID/stat, after the command's closing bracket


@dataclass(frozen=True)
class StepOrder:
    """What runs the step. `artifacts`: a mega-cache to load first; `save_artifacts`: where to write one afterwards."""

    arm: Arm
    blueprint: str
    name: str
    batch: int = 8
    cache_dir: str | None = None
    trust_file: str | None = None
    tenant: str = "default"
    store_url: str | None = None
    redis_url: str | None = None
    deadline_s: float = 10.0
    artifacts: str | None = None
    save_artifacts: str | None = None


@dataclass(frozen=True)
class StepReply:
    """What it took. `answer` is the tier, or the arm; `error` what ended the step; `compilers` what was imported."""

    answer: str = ""
    wall_s: float = 0.0
    self_s: float = 0.0
    children_s: float = 0.0
    compilers: Sequence[str] = ()
    error: str | None = None


def main() -> None:
    """Run the step and print how it went."""
    import torch  # noqa: F401 - every job has it before it asks for a kernel

    order = StepOrder(**json.loads(sys.argv[1]))
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        answer, error = _run(order), None
    except Exception as problem:  # noqa: BLE001 - whatever ends the step is the answer
        answer, error = order.arm, " ".join(f"{type(problem).__name__}: {problem}".split())[:160]
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    found = [name for name in COMPILERS if name in sys.modules]
    sys.stdout.write(json.dumps(asdict(StepReply(answer, wall, cpu, children_cpu_s(), found, error))) + "\n")
    sys.stdout.flush()
    if order.save_artifacts is not None:
        _save_artifacts(Path(order.save_artifacts))


def _run(order: StepOrder) -> str:
    from morph_kernels import Blueprint

    blueprint = Blueprint.from_bytes(Path(order.blueprint).read_bytes(), name=order.name)
    module, answer = _ARMS[order.arm](order, blueprint)
    interface = blueprint.interface
    outputs = module(*interface.example_inputs(dict.fromkeys(interface.symbols, order.batch)))
    outputs.square().mean().backward()
    return answer()


def _open_eager(_order: StepOrder, blueprint: Any) -> tuple[Any, Callable[[], str]]:
    return blueprint.build(seed=0).train(), lambda: "eager"


def _open_ours(order: StepOrder, blueprint: Any) -> tuple[Any, Callable[[], str]]:
    from morph_kernels import KernelLoader
    from morph_kernels.settings import Endpoints, RuntimeSettings

    endpoints = Endpoints(store_url=order.store_url, redis_url=order.redis_url, trust_file=Path(order.trust_file or ""))
    loader = KernelLoader(
        RuntimeSettings(
            endpoints=endpoints,
            tenant=order.tenant,
            cache_dir=Path(order.cache_dir or ""),
            deadline_s=order.deadline_s,
        )
    )
    module = loader.load(blueprint).train()
    return module, lambda: module.source if module.calls == {"compiled": 1} else f"eager: {module.reason}"


def _open_compile(order: StepOrder, blueprint: Any) -> tuple[Any, Callable[[], str]]:
    import torch

    if order.artifacts is not None:
        torch.compiler.load_cache_artifacts(Path(order.artifacts).read_bytes())
    return torch.compile(blueprint.build(seed=0).train()), _count_hits


def _count_hits() -> str:
    """Return what the compiler says of its cache of graphs."""
    from torch._dynamo.utils import counters

    found = counters["inductor"]
    return f"{found['fxgraph_cache_hit']} hits, {found['fxgraph_cache_miss']} misses"


_ARMS: Final[dict[Arm, Callable[[StepOrder, Any], tuple[Any, Callable[[], str]]]]] = {
    "eager": _open_eager,
    "ours": _open_ours,
    "compile": _open_compile,
}


def _save_artifacts(path: Path) -> None:
    import torch

    saved = torch.compiler.save_cache_artifacts()
    path.write_bytes(saved[0] if saved is not None else b"")


def children_cpu_s() -> float:
    """Return the processor time of all processes below this one, also of those that have ended and were waited for."""
    below: dict[int, tuple[int, list[int]]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            below[int(entry.name)] = (int(fields[_PARENT_FIELD]), [int(ticks) for ticks in fields[_TIME_FIELDS]])
    ticks, mine = 0, {os.getpid()}
    while mine:
        found = {pid for pid, (parent, _) in below.items() if parent in mine}
        ticks += sum(sum(below[pid][1]) for pid in found)
        mine = found
    own = os.times()
    return ticks / os.sysconf("SC_CLK_TCK") + own.children_user + own.children_system


if __name__ == "__main__":
    main()
