"""`morph bench faults`: what a load answers when something is wrong, and what that costs over a healthy load."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from morph_assets.bench.bench_kernel import BenchKernel
from morph_assets.bench.fault_cases import Fault, list_faults
from morph_assets.bench.fault_ground import FaultGround, UnhealthyError, open_fault_ground
from morph_assets.bench.fault_peers import measure_peers
from morph_assets.bench.load_server import LoadReply
from morph_assets.bench.result import BenchResult, BenchRow, describe_machine, plan_row, unmeasured_row
from morph_kernels.artifact.manifest import Library, LibraryRole
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import BlobDigest

SOURCES: Final = {"disk": "disk", "redis": "redis", "folder store": "store", "S3 store": "store"}
_DELAY: Final = "added delay"
_MOST_CHANGES: Final = 200
Say = Callable[[str], None]


@dataclass(frozen=True)
class FaultsSize:
    """How often each fault is tried, and in which changes of the disk a process is killed."""

    rounds: int = 5
    kill_every: int = 1
    peers: bool = True


def bench_faults(kernel: BenchKernel, size: FaultsSize = FaultsSize(), *, say: Say = lambda _: None) -> BenchResult:
    """Return how loads of a kernel go under every fault.

    Raises:
        UnhealthyError: loads without any fault go wrong.
        ServicesError, NoCompilerError, LoadServerError: the ground cannot be made.
    """
    machine = describe_machine() | {"kernel": kernel.blueprint.name}
    with open_fault_ground(kernel) as ground:
        return BenchResult("faults", machine, tuple(_rows(ground, size, say)))


def _rows(ground: FaultGround, size: FaultsSize, say: Say) -> Iterator[BenchRow]:
    say("healthy loads")
    healthy: dict[str, float] = {}
    for base in SOURCES:
        if base == "S3 store" and ground.s3 is None:
            continue
        taken = _time_healthy(ground, base, size.rounds)
        healthy[base] = statistics.median(taken)
        yield replace(plan_row(f"{base}, healthy", "load", "ms", taken), answer=SOURCES[base])
    for fault in list_faults():
        say(f"{fault.tier}: {fault.name}")
        yield _fault_row(ground, fault, healthy.get(fault.base), size.rounds)
    say("two processes at once")
    yield _race_row(ground, healthy["folder store"], size.rounds)
    say("a process killed in every write")
    yield from _kill_rows(ground, healthy["folder store"], size.kill_every)
    say("the trap itself")
    yield _control_row(ground)
    if size.peers:
        # Last: what they run of a trap is no matter of ours.
        yield from measure_peers(ground, say=say)


def _time_healthy(ground: FaultGround, base: str, rounds: int) -> list[float]:
    taken = []
    for _ in range(rounds + 1):
        ground.fill_redis()
        reply = ground.client.load(ground.order(base))
        if reply.answer != SOURCES[base]:
            raise UnhealthyError(f"a healthy load from the {base} answered {reply.answer}")
        taken.append(1000 * reply.seconds)
    # The first one warms the server.
    return taken[1:]


def _fault_row(ground: FaultGround, fault: Fault, healthy_ms: float | None, rounds: int) -> BenchRow:
    case = f"{fault.tier}: {fault.name}"
    if healthy_ms is None:
        return unmeasured_row(case, _DELAY, "ms", "no S3 server on this machine")
    replies = []
    for _ in range(rounds):
        ground.fill_redis()
        with fault.open(ground) as order:
            replies.append(ground.client.load(order))
    return _judge(ground, case, replies, healthy_ms, order.deadline_s)


def plan_fault_row(
    case: str, replies: Sequence[LoadReply], *, healthy_ms: float, deadline_s: float, sprung: bool
) -> BenchRow:
    """Return the row of loads under a fault: none may raise, end its process, be late or run what was substituted."""
    delays = [1000 * reply.seconds - healthy_ms for reply in replies]
    fine = not sprung and all(reply.error is None and not reply.died for reply in replies)
    return replace(
        plan_row(case, _DELAY, "ms", delays, goal=1000 * deadline_s),
        answer=", ".join(dict.fromkeys(reply.answer for reply in replies)),
        holds=fine and max(delays) <= 1000 * deadline_s,
    )


def _judge(
    ground: FaultGround, case: str, replies: Sequence[LoadReply], healthy_ms: float, deadline_s: float
) -> BenchRow:
    sprung = ground.trap.was_sprung
    return plan_fault_row(case, replies, healthy_ms=healthy_ms, deadline_s=deadline_s, sprung=sprung)


def _race_row(ground: FaultGround, healthy_ms: float, rounds: int) -> BenchRow:
    replies = []
    for _ in range(rounds):
        order = ground.order("folder store")
        replies += ground.client.load_together([order, order])
    return _judge(ground, "disk: two processes racing", replies, healthy_ms, order.deadline_s)


def _kill_rows(ground: FaultGround, healthy_ms: float, every: int) -> Iterator[BenchRow]:
    """Kill a load in one change of the disk after another until it gets through; load again after each."""
    after, killed = [], 0
    for place in range(1, _MOST_CHANGES, every):
        order = ground.order("folder store")
        reply = ground.client.load(replace(order, kill_at=place))
        if not reply.died:
            break
        killed += 1
        after.append(ground.client.load(order))
    case = "disk: a process killed in every write"
    yield replace(_judge(ground, case, after, healthy_ms, order.deadline_s), n=killed)
    yield replace(plan_row(case, "changes of the disk in a load", "1", [reply.changes]), answer=reply.answer)


def _control_row(ground: FaultGround) -> BenchRow:
    """Show that the trap works: a loader that is given every reason to trust it does run it."""
    libraries: dict[LibraryRole, bytes] = {"forward": ground.trap.library, "backward": ground.trap.library + b"\0"}
    listed = tuple(
        Library(library.role, BlobDigest(sha256_hex(libraries[library.role])), len(libraries[library.role]))
        for library in ground.kernel.manifest.libraries
    )
    manifest = replace(ground.kernel.manifest, libraries=listed)
    bundle = replace(ground.kernel.bundle, manifest=manifest.to_bytes(), libraries=libraries)
    before = ground.trap.was_sprung
    ground.empty_store()
    ground.publisher.publish(BenchKernel(ground.kernel.blueprint, manifest, bundle), ground.store)
    reply = ground.client.load(ground.order("folder store"))
    row = plan_row("control: a trap that all keys vouch for", "load", "ms", [1000 * reply.seconds])
    sprung = ground.trap.was_sprung and not before
    return replace(row, answer=f"{reply.answer}, {'sprung' if sprung else 'not sprung'}", holds=sprung)
