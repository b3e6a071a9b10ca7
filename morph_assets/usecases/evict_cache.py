"""Makes room in a cache: what is cheapest to lose goes first, what is pinned never."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from morph_assets.connections import Connections
from morph_assets.registry import kernels
from morph_assets.usecases.find_needed_kernels import find_needed_kernels
from morph_assets.usecases.measure_caches import measure_caches
from morph_kernels.cache.eviction import CachedKernel, EvictionPlan, plan_eviction
from morph_kernels.errors import MorphError
from morph_kernels.identity import KernelDigest

EvictableTier = Literal["disk", "redis"]
_PINNED = "a running job needs it"


@dataclass(frozen=True)
class JudgedKernel:
    """A kernel that a cache held, and what an eviction made of it."""

    digest: KernelDigest
    evicted: bool
    because: str
    size_bytes: int


@dataclass(frozen=True)
class EvictionReport:
    """What was dropped (or would be, in a dry run), why the rest was kept, and the bytes that this frees.

    `kernels` says it of each kernel that the tier held, those that went first.
    """

    tier: EvictableTier
    budget_bytes: int
    dropped: tuple[KernelDigest, ...]
    kept_because: Mapping[KernelDigest, str]
    freed_bytes: int
    kernels: tuple[JudgedKernel, ...]
    dry_run: bool


class NotEvictableError(MorphError):
    """The tier is no cache, or does not answer."""


def evict_cache(
    connections: Connections, tier: str, *, budget_bytes: int | None = None, dry_run: bool = False
) -> EvictionReport:
    """Bring a cache within its budget, or within the given one.

    What the newest checkpoints of active runs need is pinned.

    Raises:
        NotEvictableError: the tier is the store, which is no cache, or is unknown, or has neither budget nor answer.
    """
    name = _parse_tier(tier)
    state = next(state for state in measure_caches(connections).tiers if state.tier == name)
    if not state.available:
        raise NotEvictableError(f"{name} does not answer")
    budget = state.budget_bytes if budget_bytes is None else budget_bytes
    held = _held(connections, name)
    budget = sum(kernel.size_bytes for kernel in held) if budget is None else budget
    plan = plan_eviction(held, budget_bytes=budget, keep=dict.fromkeys(find_needed_kernels(connections), _PINNED))
    if not dry_run:
        _drop(connections, name, plan)
    dropped = tuple(kernel.digest for kernel in plan.dropped)
    return EvictionReport(name, budget, dropped, plan.kept_because, plan.freed_bytes, _judged(held, plan), dry_run)


def _judged(held: list[CachedKernel], plan: EvictionPlan) -> tuple[JudgedKernel, ...]:
    went = [JudgedKernel(k.digest, evicted=True, because=_why(k), size_bytes=k.size_bytes) for k in plan.dropped]
    stay = [
        JudgedKernel(k.digest, evicted=False, because=plan.kept_because[k.digest], size_bytes=k.size_bytes)
        for k in held
        if k.digest in plan.kept_because
    ]
    return (*went, *stay)


def _why(kernel: CachedKernel) -> str:
    if not kernel.rebuild_s:
        return "no index names it any more"
    return f"cheapest to lose: found {kernel.uses} times in {kernel.size_bytes} bytes"


def _parse_tier(tier: str) -> EvictableTier:
    if tier == "disk":
        return "disk"
    if tier == "redis":
        return "redis"
    raise NotEvictableError(f"{tier!r} cannot be evicted: disk and redis can; the store keeps what was published")


def _held(connections: Connections, tier: EvictableTier) -> list[CachedKernel]:
    """Return what the tier holds; what no index names any more is worth nothing."""
    published = kernels.list_kernels(connections.registry("platform"), states=("PUBLISHED",))
    in_service = {kernel.digest for kernel in published}
    if tier == "disk":
        held = connections.disk.kernels()
    else:
        held = [] if connections.redis is None else connections.redis.kernels()
    return [k if k.digest in in_service else replace(k, rebuild_s=0.0, clock=0.0) for k in held]


def _drop(connections: Connections, tier: EvictableTier, plan: EvictionPlan) -> None:
    if tier == "disk":
        connections.disk.evict(plan)
    elif connections.redis is not None:
        for kernel in plan.dropped:
            connections.redis.drop_bundle(kernel.digest)
