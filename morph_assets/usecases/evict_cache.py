"""Makes room in a cache: what is cheapest to lose goes first, what is pinned never."""

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from morph_assets.connections import Connections
from morph_assets.registry import kernels
from morph_assets.registry.builds import build_costs
from morph_assets.registry.checkpoints import list_checkpoints, list_runs
from morph_assets.usecases.measure_caches import measure_caches
from morph_kernels.errors import MorphError
from morph_kernels.identity import KernelDigest

EvictableTier = Literal["disk", "redis"]
# An entry younger than this is not worth less for being used a second ago rather than a minute.
_SETTLING_S = 60.0
_NOTHING_KNOWN_S = 20.0


@dataclass(frozen=True)
class Entry:
    """One kernel in a cache, and what speaks for keeping it."""

    key: str
    size_bytes: int
    idle_s: float
    rebuild_s: float
    in_service: bool = True

    @property
    def worth(self) -> float:
        """What a byte of it saves: seconds to get it again, over its size and the time since it was last used."""
        seconds = self.rebuild_s if self.in_service else 0.0
        return seconds / (max(1, self.size_bytes) * (self.idle_s + _SETTLING_S))


@dataclass(frozen=True)
class EvictionPlan:
    """The keys to drop, cheapest to lose first, and for every other key why it stays."""

    drop: tuple[str, ...]
    kept_because: dict[str, str]


@dataclass(frozen=True)
class EvictionReport:
    """What was dropped (or would be, in a dry run), why the rest was kept, and the bytes that this frees."""

    tier: EvictableTier
    dropped: tuple[str, ...]
    kept_because: dict[str, str]
    freed_bytes: int
    dry_run: bool


class NotEvictableError(MorphError):
    """The tier is no cache, or does not answer."""


def plan_eviction(entries: Iterable[Entry], *, budget_bytes: int, pinned: Collection[str]) -> EvictionPlan:
    """Return what to drop, cheapest to lose first, so that the rest fits the budget; pinned keys stay in any case."""
    found = sorted(entries, key=lambda entry: (entry.worth, entry.key))
    excess = sum(entry.size_bytes for entry in found) - budget_bytes  # derived: never a second book
    drop, kept = [], {}
    for entry in found:
        if entry.key in pinned:
            kept[entry.key] = "pinned"
        elif excess > 0:
            drop.append(entry.key)
            excess -= entry.size_bytes
        else:
            kept[entry.key] = "fits the budget"
    return EvictionPlan(tuple(drop), kept)


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
    entries = _entries(connections, name)
    sizes = {entry.key: entry.size_bytes for entry in entries}
    budget = sum(sizes.values()) if budget is None else budget
    plan = plan_eviction(entries, budget_bytes=budget, pinned=_pinned(connections))
    if not dry_run:
        for key in plan.drop:
            _drop(connections, name, KernelDigest(key))
    freed = sum(sizes[key] for key in plan.drop)
    return EvictionReport(name, plan.drop, plan.kept_because, freed, dry_run)


def _parse_tier(tier: str) -> EvictableTier:
    if tier == "disk":
        return "disk"
    if tier == "redis":
        return "redis"
    raise NotEvictableError(f"{tier!r} cannot be evicted: disk and redis can; the store keeps what was published")


def _entries(connections: Connections, tier: EvictableTier) -> list[Entry]:
    registry = connections.registry("platform")
    in_service = {k.digest for k in kernels.list_kernels(registry, states=("PUBLISHED",))}
    costs = build_costs(registry)
    now = time.time()
    if tier == "disk":
        used = [(use.digest, use.size_bytes, max(0.0, now - use.used_at)) for use in connections.disk.uses()]
    else:
        redis = connections.redis
        # Redis tells how often, not when; to ask would be to use.
        used = [] if redis is None else [(use.digest, use.size_bytes, 0.0) for use in redis.uses()]
    return [
        Entry(digest, size_bytes, idle_s, costs.get(digest, _NOTHING_KNOWN_S), digest in in_service)
        for digest, size_bytes, idle_s in used
    ]


def _pinned(connections: Connections) -> frozenset[str]:
    registry = connections.registry("platform")
    active = [run.run for run in list_runs(registry) if run.active]
    newest = [checkpoint for run in active for checkpoint in list_checkpoints(registry, run=run, limit=1)]
    return frozenset(digest for checkpoint in newest for digest in checkpoint.kernels)


def _drop(connections: Connections, tier: EvictableTier, digest: KernelDigest) -> None:
    if tier == "disk":
        connections.disk.drop(digest)
    elif connections.redis is not None:
        connections.redis.drop_bundle(digest)
