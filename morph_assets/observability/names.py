"""The names of all metrics of the platform, each with its meaning; a digest is never a label."""

from typing import Final, NamedTuple


class MetricName(NamedTuple):
    """One metric: its name, what it says, and its labels."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


KERNELS: Final = MetricName("morph_kernels", "Kernels by lifecycle state.", ("state",))
BLUEPRINTS: Final = MetricName("morph_blueprints", "Blueprint names in use.")
BUILDS: Final = MetricName("morph_builds_total", "Compiler runs by outcome.", ("outcome",))
BUILD_SECONDS: Final = MetricName("morph_build_cpu_seconds_total", "Processor seconds spent on compiler runs.")
REJECTIONS: Final = MetricName("morph_rejections_total", "Reasons for which kernels failed evaluation.", ("reason",))
EVENTS: Final = MetricName("morph_event_seq", "Sequence number of the newest event of the log.")
TIMELINE: Final = MetricName("morph_timeline", "Timeline of the log; a restored backup starts a new one.")
UNANCHORED_EVENTS: Final = MetricName("morph_unanchored_events", "Events of the log that no anchor covers.")
UNANCHORED_SECONDS: Final = MetricName(
    "morph_unanchored_seconds", "How long the oldest event that no anchor covers has waited for one."
)
CHECKPOINTS: Final = MetricName("morph_checkpoints", "Committed checkpoints.")
ACTIVE_RUNS: Final = MetricName("morph_active_runs", "Runs whose writer holds its lease.")
INDEXES_BEHIND: Final = MetricName("morph_indexes_behind", "Names whose published index does not tell of all changes.")
CACHE_BYTES: Final = MetricName("morph_cache_bytes", "Bytes of kernels in a tier.", ("tier",))
CACHE_ENTRIES: Final = MetricName("morph_cache_entries", "Kernels in a tier.", ("tier",))
CACHE_BUDGET: Final = MetricName("morph_cache_budget_bytes", "Bytes of kernels that a tier may hold.", ("tier",))
TIER_UP: Final = MetricName("morph_tier_up", "Whether a tier answered at this scrape.", ("tier",))
BEST_EFFORT_FAILURES: Final = MetricName(
    "morph_best_effort_failures_total", "What this process tried only as best effort, and failed.", ("what",)
)
SCRAPE_OK: Final = MetricName("morph_scrape_ok", "Whether the registry answered at this scrape.")
