"""Counts the whole platform for one scrape."""

import json
from collections import Counter

from morph_assets.connections import Connections
from morph_assets.observability.counts import PlatformCounts, TierCounts
from morph_assets.registry.blueprints import list_blueprints
from morph_assets.registry.builds import count_builds, sum_build_cpu_s
from morph_assets.registry.checkpoints import list_runs
from morph_assets.registry.connection import Registry
from morph_assets.registry.evaluations import list_failed_reports
from morph_assets.registry.events import latest_cursor
from morph_assets.registry.indexes import list_index_states
from morph_assets.registry.kernels import count_kernels_by_state
from morph_assets.registry.relays import unanchored_window
from morph_assets.usecases.measure_caches import measure_caches


def collect_counts(connections: Connections) -> PlatformCounts:
    """Return the counts of this moment.

    Raises:
        RegistryUnavailableError: the registry does not answer.
    """
    registry = connections.registry("platform")
    cursor, runs = latest_cursor(registry), list_runs(registry)
    window = unanchored_window(registry)
    return PlatformCounts(
        kernels=count_kernels_by_state(registry),
        blueprints=len(list_blueprints(registry)),
        builds=count_builds(registry),
        build_cpu_s=sum_build_cpu_s(registry),
        rejections=_rejections(registry),
        event_seq=cursor.seq,
        timeline=cursor.timeline,
        unanchored_events=window.events,
        unanchored_s=window.oldest_s,
        checkpoints=sum(run.checkpoints for run in runs),
        active_runs=sum(run.active for run in runs),
        indexes_behind=sum(state.is_behind for state in list_index_states(registry)),
        tiers=tuple(
            TierCounts(tier.tier, tier.entries, tier.size_bytes, tier.budget_bytes, tier.available)
            for tier in measure_caches(connections).tiers
        ),
        best_effort_failures=dict(connections.counts),
    )


def _rejections(registry: Registry) -> dict[str, int]:
    """Return how many failed reports name each reason; one report counts once a reason."""
    counts: Counter[str] = Counter()
    for report in list_failed_reports(registry):
        counts.update({str(failure["reason"]) for failure in json.loads(report.body).get("reasons", ())})
    return dict(counts)
