"""Decides which caches to make room in, without asking again and again for what cannot be freed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from morph_assets.usecases.measure_caches import CacheState


@dataclass(frozen=True)
class PressurePlan:
    """The tiers to evict now, the size at which each tier over its budget was last asked to, and why in words."""

    evict: tuple[str, ...]
    asked_at_bytes: Mapping[str, int]
    told: str


def plan_pressure(state: CacheState, *, asked_at_bytes: Mapping[str, int]) -> PressurePlan:
    """Return the tiers over budget that hold something else than when they were last asked to make room.

    A tier that stays over budget at the same size holds only what is pinned: another eviction would free nothing.
    """
    over = {tier.tier: tier for tier in state.tiers if tier.excess_bytes}
    evict = tuple(name for name, tier in over.items() if asked_at_bytes.get(name) != tier.size_bytes)
    told = [
        f"{tier.tier} is {tier.excess_bytes} bytes over its budget of {tier.budget_bytes}"
        + ("" if tier.tier in evict else " and holds only what is pinned")
        for tier in over.values()
    ]
    told += [f"{tier.tier} does not answer" for tier in state.tiers if not tier.available]
    return PressurePlan(
        evict, {name: tier.size_bytes for name, tier in over.items()}, "; ".join(told) or "every tier is within budget"
    )


def format_asked(asked_at_bytes: Mapping[str, int]) -> str:
    """Return the sizes as text for a cursor."""
    return json.dumps(dict(asked_at_bytes), sort_keys=True)


def parse_asked(text: str | None) -> dict[str, int]:
    """Return the sizes that the text holds; none for no text, or for one that holds something else."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: size for name, size in found.items() if isinstance(size, int)}
