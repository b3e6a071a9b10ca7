"""`morph bench load`: how long a job waits for its first gradients: from every tier, eager, by torch.compile."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from morph_assets.bench.bench_kernel import BenchKernel
from morph_assets.bench.first_step import StepOrder, StepReply
from morph_assets.bench.load_ground import BrokenLoadError, LoadGround, open_load_ground, source_of
from morph_assets.bench.result import BenchResult, BenchRow, describe_machine, plan_row, unmeasured_row
from morph_assets.bench.step_process import StepOutcome, compiler_environment, remote_cache, take_step
from morph_assets.bench.warm_loads import WarmReply

Say = Callable[[str], None]
Take = Callable[[], StepOutcome]
# Milliseconds that a first step may take longer than eager's.
_OVER_EAGER: Final = {
    "disk": 80.0,
    "disk, relocated": 80.0,
    "redis": 500.0,
    "folder store": 500.0,
    "S3 store": 500.0,
}
_LOAD_GOALS: Final = {"disk": 3.0, "redis": 8.0, "folder store": None, "S3 store": 25.0}
_WARM_LOCAL: Final = "torch.compile, warm local cache"


@dataclass(frozen=True)
class LoadSize:
    """How often each way is taken; those that compile cost a quarter of a minute each."""

    rounds: int = 5
    compiled_rounds: int = 3


def bench_load(kernel: BenchKernel, size: LoadSize = LoadSize(), *, say: Say = lambda _: None) -> BenchResult:
    """Return what first steps and loads of a kernel take.

    Raises:
        BrokenLoadError: a step or a load did not do what it should.
        ServicesError: a server does not start.
    """
    machine = describe_machine() | {"kernel": kernel.blueprint.name}
    say("publishing the kernels")
    with open_load_ground(kernel) as ground:
        return BenchResult("load", machine, tuple(_rows(ground, size, say)))


def _rows(ground: LoadGround, size: LoadSize, say: Say) -> Iterator[BenchRow]:
    for tier, goal in _LOAD_GOALS.items():
        case = f"load() from {tier}, in a warm process"
        if tier not in ground.tiers:
            yield unmeasured_row(case, "load", "ms", "no S3 server on this machine")
            continue
        say(case)
        replies = [ground.load_warm(tier, calls=tier == "disk") for _ in range(size.rounds)]
        yield plan_row(case, "load", "ms", [taken for reply in replies for taken in reply.load_ms], goal=goal)
        if tier == "disk":
            yield from _process_rows(replies)
    steps = _take_steps(ground, size, say)
    eager = [_reply(outcome).wall_s for outcome in steps["eager"]]
    for case, outcomes in steps.items():
        yield from _step_rows(case, outcomes, eager)
    yield from _compiler_rows(steps)


def _process_rows(replies: Sequence[WarmReply]) -> Iterator[BenchRow]:
    over = [reply.again_us - reply.build_us for reply in replies]
    yield plan_row("load() from the process", "over building the module", "us", over, goal=50.0)
    yield plan_row("building the module", "build", "us", [reply.build_us for reply in replies])
    dispatch = [reply.call_us["module"] - reply.call_us["body"] for reply in replies]
    yield plan_row("a call of a loaded body", "dispatch", "us", dispatch, goal=1.0)
    for what in ("module", "body", "eager"):
        yield plan_row(f"a forward, {what}", "call", "us", [reply.call_us[what] for reply in replies])


def _take_steps(ground: LoadGround, size: LoadSize, say: Say) -> dict[str, list[StepOutcome]]:
    """Take every way's step in turns, so that what else the machine does strikes all of them alike."""
    ways: dict[str, Take] = {"eager": lambda: take_step(ground.plain_step(StepOrder("eager", "", "")))}
    for tier in ground.tiers:
        ways[f"ours, {tier}"] = partial(_take_ours, ground, tier)
    compiled = _compiled_ways(ground, say) if size.compiled_rounds else {}
    taken: dict[str, list[StepOutcome]] = {way: [] for way in (*ways, *compiled)}
    for number in range(size.rounds):
        say(f"first steps, round {number + 1} of {size.rounds}")
        for way, take in ways.items():
            taken[way].append(take())
        for way, take in compiled.items():
            if number < size.compiled_rounds or way == _WARM_LOCAL:
                taken[way].append(take())
    return taken


def _take_ours(ground: LoadGround, tier: str) -> StepOutcome:
    return take_step(ground.step(tier))


def _compiled_ways(ground: LoadGround, say: Say) -> Mapping[str, Take]:
    """Fill torch.compile's caches, then return its ways to a first step."""
    order = ground.plain_step(StepOrder("compile", "", ""))
    local, saved = ground.folder / "inductor", ground.folder / "artifacts"
    remote = remote_cache(ground.redis_url)
    say("torch.compile: filling its local cache and the mega-cache")
    _reply(take_step(replace(order, save_artifacts=str(saved)), environment=compiler_environment(local)))
    say("torch.compile: filling its Redis")
    _reply(take_step(order, environment=compiler_environment(ground.folder / "inductor-remote", **remote)))

    def fresh() -> Path:
        return ground.folder / f"inductor-{next(ground.hosts)}"

    return {
        "torch.compile, cold": lambda: take_step(order, environment=compiler_environment(fresh())),
        _WARM_LOCAL: lambda: take_step(order, environment=compiler_environment(local)),
        "torch.compile, warm Redis, empty local cache": lambda: take_step(
            order, environment=compiler_environment(fresh(), **remote)
        ),
        "torch.compile, mega-cache": lambda: take_step(
            replace(order, artifacts=str(saved)), environment=compiler_environment(fresh())
        ),
    }


def _step_rows(case: str, outcomes: Sequence[StepOutcome], eager: Sequence[float]) -> Iterator[BenchRow]:
    replies = [_reply(outcome) for outcome in outcomes]
    tier = case.removeprefix("ours, ")
    if case.startswith("ours") and {reply.answer for reply in replies} != {source_of(tier)}:
        raise BrokenLoadError(f"{case}: the step answered {', '.join(reply.answer for reply in replies)}")
    answer = ", ".join(dict.fromkeys(reply.answer for reply in replies))
    wall = [1e3 * reply.wall_s for reply in replies]
    yield replace(plan_row(case, "first step", "ms", wall), answer=answer)
    yield plan_row(case, "first step, processor time", "ms", [1e3 * reply.self_s for reply in replies])
    children = [1e3 * reply.children_s for reply in replies]
    ours = case.startswith("ours")
    yield plan_row(case, "first step, processor time of children", "ms", children, goal=0.0 if ours else None)
    if ours:
        over = [reply.wall_s - plain for reply, plain in zip(replies, eager, strict=False)]
        yield plan_row(case, "first step over eager", "ms", [1e3 * taken for taken in over], goal=_OVER_EAGER[tier])
        imported = [float(len(reply.compilers)) for reply in replies]
        yield plan_row(case, "compiler modules imported", "1", imported, goal=0.0)


def _compiler_rows(steps: Mapping[str, Sequence[StepOutcome]]) -> Iterator[BenchRow]:
    ours = [_reply(outcome).wall_s for outcome in steps["ours, disk"]]
    for case, outcomes in steps.items():
        if case.startswith("torch.compile"):
            ratios = [_reply(outcome).wall_s / mine for outcome, mine in zip(outcomes, ours, strict=False)]
            goal = 50.0 if case == _WARM_LOCAL else None
            yield plan_row(case, "first step, against ours from disk", "1", ratios, goal=goal, better="more")


def _reply(outcome: StepOutcome) -> StepReply:
    if outcome.reply is None or outcome.reply.error is not None:
        raise BrokenLoadError(f"a first step ended: {outcome.answer}")
    return outcome.reply
