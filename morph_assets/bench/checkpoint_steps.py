"""What a save takes from training: windows of real steps with one save in them, each between two without."""

import math
import time
from collections.abc import Callable, Sequence

from morph_assets.bench.checkpoint_state import BenchState
from morph_assets.bench.checkpoint_ways import Way

_WARM_STEPS = 3


def measure_steps(state: BenchState, ways: Sequence[Way], *, rounds: int, window_s: float) -> dict[str, list[float]]:
    """Return, for each way and round, how many seconds longer a window takes with a save at its beginning.

    A window ends when its steps are done and the save is acknowledged. What is lost is lost once a save, whatever the
    interval: a window need only be longer than a save. All tensors change in every step.
    """
    steps = _steps_of(state, window_s)
    lost: dict[str, list[float]] = {way.name: [] for way in ways}
    before = _window(state, steps)
    for _ in range(rounds):
        for way in ways:
            way.forget()
            saving = _window(state, steps, way.save)
            after = _window(state, steps)
            lost[way.name].append(saving - (before + after) / 2)
            before = after
    return lost


def _steps_of(state: BenchState, window_s: float) -> int:
    for _ in range(_WARM_STEPS):
        state.train_step()
    return max(2, math.ceil(window_s / _window(state, _WARM_STEPS) * _WARM_STEPS))


def _window(state: BenchState, steps: int, save: Callable[[], Callable[[], object]] | None = None) -> float:
    started = time.perf_counter()
    wait = save() if save is not None else None
    for _ in range(steps):
        state.train_step()
    if wait is not None:
        wait()
    return time.perf_counter() - started
