"""Loads in a process that is warm: first loads from one tier, then again from the process, and what a call costs.

Run as `python -m morph_assets.bench.warm_loads '<an order as JSON>'`. The first name only warms.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

_REPEATS, _CALLS = 200, 2000


@dataclass(frozen=True)
class WarmOrder:
    """Names of the same blueprint, each of them another kernel, and where they are to come from."""

    blueprint: str
    names: tuple[str, ...]
    cache_dir: str
    trust_file: str
    tenant: str
    store_url: str | None = None
    redis_url: str | None = None
    calls: bool = False


@dataclass(frozen=True)
class WarmReply:
    """Milliseconds of first loads; microseconds of what is repeated, each the median of many."""

    sources: tuple[str, ...]
    load_ms: tuple[float, ...]
    again_us: float = 0.0
    build_us: float = 0.0
    call_us: dict[str, float] = field(default_factory=dict)


def main() -> None:
    """Load, measure and print."""
    import torch

    from morph_kernels.blueprint import Blueprint
    from morph_kernels.loader import KernelLoader, KernelModule
    from morph_kernels.settings import Endpoints, RuntimeSettings

    torch.set_num_threads(1)
    order = WarmOrder(**json.loads(sys.argv[1]))
    endpoints = Endpoints(
        store_url=order.store_url, redis_url=order.redis_url, trust_file=Path(order.trust_file), trust_root=None
    )
    loader = KernelLoader(
        RuntimeSettings(endpoints=endpoints, tenant=order.tenant, cache_dir=Path(order.cache_dir), deadline_s=10.0)
    )
    document = Path(order.blueprint).read_bytes()
    blueprints = [Blueprint.from_bytes(document, name=name) for name in order.names]
    taken = [_time(partial(loader.load, blueprint)) for blueprint in blueprints]
    sources = tuple(module.source for _, module in taken[1:])
    reply = WarmReply(sources, tuple(1e3 * seconds for seconds, _ in taken[1:]))
    if order.calls:
        module, blueprint = taken[0][1].train(), blueprints[0]
        again, build = _pair(lambda: loader.load(blueprint), lambda: KernelModule(blueprint), repeats=_REPEATS)
        reply = WarmReply(reply.sources, reply.load_ms, again, build, _time_calls(module))
    sys.stdout.write(json.dumps(asdict(reply)) + "\n")


def _time_calls(module: Any) -> dict[str, float]:
    """Return what a forward takes: through the module, by its body alone, and eager."""
    from morph_kernels.loader.body import find_body

    body, interface = find_body(module.digest), module.blueprint.interface
    if body is None:
        return {}
    inputs = interface.example_inputs(dict.fromkeys(interface.symbols, 8))
    names = (*body.convention.parameters, *body.convention.buffers)
    state = dict(module.named_parameters()) | dict(module.named_buffers())
    tensors = [*(state[name] for name in names), *inputs]
    eager = module.blueprint.build(seed=0).train()
    through, alone = _pair(lambda: module(*inputs), lambda: body(tensors), repeats=_CALLS)
    _, plain = _pair(lambda: module(*inputs), lambda: eager(*inputs), repeats=_CALLS)
    return {"module": through, "body": alone, "eager": plain}


def _pair(one: Callable[[], object], other: Callable[[], object], *, repeats: int) -> tuple[float, float]:
    """Return the median microseconds of two pieces of work that take turns."""
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for work, seconds in zip((one, other), taken, strict=True):
            seconds.append(_time(work)[0])
    return 1e6 * statistics.median(taken[0]), 1e6 * statistics.median(taken[1])


def _time(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    done = work()
    return time.perf_counter() - started, done


if __name__ == "__main__":
    main()
