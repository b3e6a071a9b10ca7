"""Measures time and memory of a module, inside the sandbox."""

import ctypes
import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from morph_assets.evaluation.exercise import make_inputs
from morph_assets.evaluation.samples import Sample
from morph_kernels.blueprint import Interface

_WARM_UP = 20
_LEAST_PAIRS = 5
# Shorter than this and the clock is in the way.
_LEAST_SAMPLE_S = 0.0003
_MOST_REPEATS = 50
Call = Callable[[], object]


def time_pairs(compiled: Call, eager: Call, *, pairs: int, budget_s: float) -> dict[str, Any]:
    """Time two calls in turn, which one first changing each time; return microseconds and the median ratio."""
    repeats = _plan_repeats(compiled)
    _time(eager, 1)
    taken: list[tuple[float, float]] = []
    started = time.perf_counter()
    while len(taken) < pairs and (len(taken) < _LEAST_PAIRS or time.perf_counter() - started < budget_s):
        if len(taken) % 2:
            other, own = _time(eager, repeats), _time(compiled, repeats)
        else:
            own, other = _time(compiled, repeats), _time(eager, repeats)
        taken.append((own, other))
    return {
        "compiled": _spread([own for own, _ in taken]),
        "eager": _spread([other for _, other in taken]),
        "ratio": statistics.median(other / own for own, other in taken),
        "pairs": len(taken),
    }


def plan_calls(module: nn.Module, interface: Interface, sample: Sample) -> tuple[Call, Call]:
    """Return a forward and a whole training step of a module on one sample."""
    inputs = make_inputs(interface, sample, torch.float32, 0)

    def forward() -> Any:
        return module(*inputs.values())

    def step() -> None:
        found = forward()
        outputs = [y for y in (found if isinstance(found, tuple) else (found,)) if y.requires_grad]
        for value in (*inputs.values(), *module.parameters()):
            value.grad = None
        torch.autograd.backward(outputs, [torch.ones_like(y) for y in outputs])

    return forward, step


def measure_growth(step: Call, iterations: int) -> int:
    """Return by how many bytes what is allocated grew over many steps."""
    for _ in range(_WARM_UP):
        step()
    gc.collect()
    before = _allocated_bytes()
    for _ in range(iterations):
        step()
    gc.collect()
    return _allocated_bytes() - before


def measure_held(forward: Call) -> int:
    """Return the bytes that a forward leaves allocated for its backward, outputs included; the least of three."""
    found = []
    for _ in range(3):
        gc.collect()
        before = _allocated_bytes()
        outputs = forward()
        found.append(_allocated_bytes() - before)
        del outputs
    return min(found)


class _Mallinfo2(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and later."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keepcost",
        )
    )


def _allocated_bytes() -> int:
    """Return what the C library has handed out in every arena and by mmap."""
    mallinfo2 = ctypes.CDLL(None).mallinfo2
    mallinfo2.restype = _Mallinfo2
    found = mallinfo2()
    return int(found.uordblks) + int(found.hblkhd)


def _plan_repeats(call: Call) -> int:
    call()
    once_s = max(_time(call, 1), 1e-7)
    return max(1, min(_MOST_REPEATS, round(_LEAST_SAMPLE_S / once_s)))


def _time(call: Call, repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - started) / repeats


def _spread(seconds: list[float]) -> Mapping[str, float]:
    micro = [1e6 * value for value in seconds]
    return {"median": statistics.median(micro), "least": min(micro), "most": max(micro)}
