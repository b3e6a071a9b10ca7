"""`morph bench checkpoint`: what saving costs training, and what an acknowledged save is worth, beside other ways."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch

from morph_assets.bench.checkpoint_peers import SafetensorsWay, open_peers
from morph_assets.bench.checkpoint_state import BLOCKS, BenchState
from morph_assets.bench.checkpoint_steps import measure_steps
from morph_assets.bench.checkpoint_ways import OurWay, Way, flip_bit, grown_files, stored_files
from morph_assets.bench.registry_ground import open_ground
from morph_assets.bench.result import BenchResult, BenchRow, describe_machine, plan_row, unmeasured_row
from morph_kernels.checkpoint import PostgresLedger, SqliteLedger

OURS: Final = "ours, one file as ledger"
OURS_REGISTRY: Final = "ours, the registry as ledger"
# Seconds for 200 MB.
_DURABLE_S, _RESTORE_S, _GOAL_BYTES = 0.6, 0.25, 200e6
_BLOCKED_RATIO, _BYTES_RATIO, _LOST_PERCENT = 1.5, 1.05, 1.0
_WARM_ROUNDS = 2
_SAVES, _CHANGED_BLOCKS = 10, BLOCKS // 5
Say = Callable[[str], None]


@dataclass(frozen=True)
class CheckpointSize:
    """How much is saved how often, and how long training is watched with and without a save."""

    megabytes: float = 200.0
    rounds: int = 5
    window_s: float = 2.0
    registry: bool = True
    peers: bool = True


@dataclass
class _Rounds:
    """What one way took, round by round, in seconds."""

    memcpy: list[float] = field(default_factory=list)
    blocked: list[float] = field(default_factory=list)
    durable: list[float] = field(default_factory=list)
    restore: list[float] = field(default_factory=list)


def bench_checkpoint(
    size: CheckpointSize = CheckpointSize(), *, folder: Path | None = None, say: Say = lambda _: None
) -> BenchResult:
    """Return what saves of a made-up training run cost, in a folder that is removed in the end.

    Raises:
        ServicesError: the registry's server does not start.
        MorphError: a save or a restore failed.
    """
    state = BenchState.of(size.megabytes)
    machine = describe_machine() | {"megabytes": round(state.size_bytes / 1e6, 1), "window_s": size.window_s}
    base = Path(tempfile.mkdtemp(prefix="morph-bench-", dir=folder))
    try:
        with _opened(state, base, size) as ways:
            return BenchResult("checkpoint", machine, tuple(_rows(state, ways, size, say)))
    finally:
        shutil.rmtree(base)


@contextmanager
def _opened(state: BenchState, base: Path, size: CheckpointSize) -> Iterator[list[Way]]:
    with ExitStack() as stack:
        (base / "ours").mkdir()
        ways: list[Way] = [OurWay(OURS, state, base / "ours", SqliteLedger(base / "ours" / "ledger.db"))]
        if size.registry:
            ground = stack.enter_context(open_ground(1))
            ledger = PostgresLedger(ground.tenants[0].urls["trainer"])
            ways.append(OurWay(OURS_REGISTRY, state, base / "registry", ledger))
        for way in ways:
            stack.callback(way.close)
        if size.peers:
            ways += stack.enter_context(open_peers(state, base))
        yield ways


class _Memcpy:
    """Copies a state on one core into memory that is there: the least that saving can take from training."""

    def __init__(self, state: BenchState) -> None:
        self._state = state
        self._target = np.zeros(state.size_bytes, np.uint8)

    def take_s(self) -> float:
        """Copy, and return how long it took."""
        # Found anew: a restore may have put other tensors in their place.
        sources = [tensor.numpy().reshape(-1).view(np.uint8) for tensor in self._state.tensors()]
        started, end = time.perf_counter(), 0
        for source in sources:
            self._target[end : end + source.size] = source
            end += source.size
        return time.perf_counter() - started


def _rows(state: BenchState, ways: Sequence[Way], size: CheckpointSize, say: Say) -> Iterator[BenchRow]:
    taken, memcpy = {way.name: _Rounds() for way in ways}, _Memcpy(state)
    for number in range(_WARM_ROUNDS + size.rounds):
        say(f"saves and restores, round {number + 1} of {_WARM_ROUNDS + size.rounds}")
        for way in _turned(ways, number):
            into = taken[way.name] if number >= _WARM_ROUNDS else _Rounds()
            _take_round(state, way, memcpy, into)
    copies = [1e3 * seconds for rounds in taken.values() for seconds in rounds.memcpy]
    yield plan_row("memcpy of the same bytes", "blocked", "ms", copies)
    for way in ways:
        yield from _time_rows(way, taken[way.name], state.size_bytes / _GOAL_BYTES)
    if size.peers and not any(isinstance(way, SafetensorsWay) for way in ways):
        yield unmeasured_row(SafetensorsWay.name, "blocked", "ms", "safetensors is not installed")
    say("training with and without saves")
    for name, lost in measure_steps(state, ways, rounds=size.rounds, window_s=size.window_s).items():
        yield plan_row(name, "training lost a save", "ms", [1e3 * seconds for seconds in lost])
        shares = [100 * seconds / 30 for seconds in lost]
        yield plan_row(name, "wall time lost, a save every 30 s", "%", shares, goal=_goal(name, _LOST_PERCENT))
    for way in ways:
        say(f"{way.name}: {_SAVES} saves with 80 % unchanged, and a flipped bit")
        yield _bytes_row(state, way)
        yield _flip_row(state, way)


def _take_round(state: BenchState, way: Way, memcpy: _Memcpy, into: _Rounds) -> None:
    state.change()
    way.forget()
    into.memcpy.append(memcpy.take_s())
    started = time.perf_counter()
    wait = way.save()
    into.blocked.append(time.perf_counter() - started)
    wait()
    into.durable.append(time.perf_counter() - started)
    started = time.perf_counter()
    way.restore()
    into.restore.append(time.perf_counter() - started)


def _time_rows(way: Way, taken: _Rounds, scale: float) -> Iterator[BenchRow]:
    name = way.name
    ratios = [blocked / memcpy for blocked, memcpy in zip(taken.blocked, taken.memcpy, strict=True)]
    yield plan_row(name, "blocked", "ms", [1e3 * seconds for seconds in taken.blocked])
    yield plan_row(name, "blocked, against the memcpy", "1", ratios, goal=_goal(name, _BLOCKED_RATIO))
    durable = plan_row(name, "acknowledged", "s", taken.durable, goal=_goal(name, _DURABLE_S * scale))
    yield replace(durable, answer=way.guarantees)
    verified = "restored and verified" if name.startswith("ours") else "restored"
    yield plan_row(name, verified, "s", taken.restore, goal=_goal(name, _RESTORE_S * scale))


def _bytes_row(state: BenchState, way: Way) -> BenchRow:
    """Return how many bytes were written for each that had changed."""
    way.save()()
    written = changed = 0
    for _ in range(_SAVES):
        before = stored_files(way.folder)
        changed += state.change(_CHANGED_BLOCKS)
        way.save()()
        written += sum(grown_files(before, way.folder).values())
    metric = "bytes written, for each changed one"
    return plan_row(way.name, metric, "1", [written / changed], goal=_goal(way.name, _BYTES_RATIO))


def _flip_row(state: BenchState, way: Way) -> BenchRow:
    """Flip a bit of the newest save, restore, and see whether anybody says so."""
    before = stored_files(way.folder)
    state.change()
    way.save()()
    saved = [tensor.clone() for tensor in state.tensors()]
    fresh = grown_files(before, way.folder)
    flip_bit(max(fresh, key=lambda path: fresh[path]))
    state.change()
    answer = "not noticed"
    try:
        way.restore()
    except Exception as error:  # noqa: BLE001 - whatever a way raises, it noticed
        answer = f"{type(error).__name__}: {error}".partition("\n")[0][:80]
    else:
        if all(torch.equal(*pair) for pair in zip(saved, state.tensors(), strict=True)):
            answer = "restored whole"
    found = float(answer != "not noticed")
    row = plan_row(way.name, "a flipped bit is found", "1", [found], goal=_goal(way.name, 1.0), better="more")
    return replace(row, answer=answer)


def _goal(way: str, goal: float) -> float | None:
    """Return the goal if it is one of ours: others' ways are the floor."""
    return goal if way.startswith("ours") else None


def _turned(ways: Sequence[Way], number: int) -> list[Way]:
    """Return the ways in another order each round, so that none always follows the same one."""
    first = number % len(ways)
    return [*ways[first:], *ways[:first]]
