"""What a benchmark found out: rows with a goal, and whether they hold. One schema for every benchmark."""

import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from morph_kernels.artifact.host import current_hardware

_GIB = 1024**3
Better = Literal["less", "more"]


@dataclass(frozen=True)
class BenchRow:
    """One measured number of one case: the median of `n` rounds, with the least and the most of them.

    `holds` says whether the median meets the goal, None where there is no goal. `answer` is what was answered, where a
    number alone does not say it; what cannot be measured on a machine has no rounds, no numbers, and says why there.
    """

    case: str
    metric: str
    unit: str
    median: float | None
    min: float | None
    max: float | None
    n: int
    goal: float | None = None
    holds: bool | None = None
    answer: str | None = None


@dataclass(frozen=True)
class BenchResult:
    """A whole benchmark."""

    bench: str
    machine: dict[str, Any]
    rows: tuple[BenchRow, ...]

    @property
    def holds(self) -> bool:
        """Whether every goal is met."""
        return all(row.holds is not False for row in self.rows)

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object that `morph bench NAME --json` prints."""
        return {
            "bench": self.bench,
            "machine": self.machine,
            "holds": self.holds,
            "rows": [vars(row) for row in self.rows],
        }


def plan_row(
    case: str, metric: str, unit: str, rounds: Sequence[float], *, goal: float | None = None, better: Better = "less"
) -> BenchRow:
    """Return the row of a number that was measured once a round."""
    median = statistics.median(rounds)
    holds = None if goal is None else (median <= goal if better == "less" else median >= goal)
    return BenchRow(
        case, metric, unit, _short(median), _short(min(rounds)), _short(max(rounds)), len(rounds), goal, holds
    )


def unmeasured_row(case: str, metric: str, unit: str, why: str) -> BenchRow:
    """Return the row of what cannot be measured on this machine."""
    return BenchRow(case, metric, unit, None, None, None, 0, answer=why)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that is not below so great a share of all."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def describe_machine() -> dict[str, Any]:
    """Return what a number depends on; `load` is that of the last minute before the benchmark began."""
    return {
        "processor": current_hardware(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB, 1),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def _short(value: float) -> float:
    return float(f"{value:.4g}")
