"""The expectations on the library, as asset checks."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from morph_assets.evaluation.library_suite import ExpectationResult

# The suite's own names, which only Great Expectations could tell: importing it costs seconds. A test compares them.
EXPECTATIONS = (
    "library_is_not_empty",
    "kernels_stand_once",
    "digests_are_sha256",
    "names_are_names",
    "states_are_known",
    "name_is_given",
    "kernel_digest_is_given",
    "state_is_given",
    "speed_ratio_of_published_kernels_is_measured",
    "worst_relative_error_of_published_kernels_is_measured",
    "covered_share_of_published_kernels_is_measured",
    "published_kernels_match_eager",
    "published_kernels_are_not_far_slower",
    "published_kernels_are_small",
    "published_kernels_load_fast",
    "published_kernels_cover_their_sizes",
    "library_is_not_slow_as_a_whole",
)
LIBRARY_CHECKS = [
    dg.AssetCheckSpec(name, asset="kernel_library", description=f"{name.replace('_', ' ').capitalize()}.")
    for name in EXPECTATIONS
]


def judge_library(results: Iterable["ExpectationResult"]) -> Iterator[dg.AssetCheckResult]:
    """Yield the check of each expectation, with what was seen and examples of what is wrong."""
    for result in results:
        yield dg.AssetCheckResult(
            check_name=result.name,
            passed=result.success,
            # Nothing depends on the library as a whole: it is for people to look at.
            severity=dg.AssetCheckSeverity.WARN,
            metadata={
                "observed": str(result.observed),
                "unexpected_count": result.unexpected_count,
                "examples": ", ".join(str(value) for value in result.examples) or "-",
            },
        )
