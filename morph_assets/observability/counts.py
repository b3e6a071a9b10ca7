"""What a scrape reports, as plain data."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class TierCounts:
    """One cache tier."""

    tier: str
    entries: int
    size_bytes: int
    budget_bytes: int | None
    available: bool


@dataclass(frozen=True)
class PlatformCounts:
    """The whole platform at one moment."""

    kernels: Mapping[str, int]
    blueprints: int
    builds: Mapping[str, int]
    build_cpu_s: float
    rejections: Mapping[str, int]
    event_seq: int
    timeline: int
    unanchored_events: int
    unanchored_s: float
    checkpoints: int
    active_runs: int
    indexes_behind: int
    tiers: tuple[TierCounts, ...]
    best_effort_failures: Mapping[str, int]
