"""Great Expectations over the library as a whole: what no single kernel's verdict can see.

Not here: whether a kernel may be published; that is the pure verdict, because importing Great Expectations costs
seconds and is paid once a run of the library, not once a kernel.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

Plain = str | int | float | bool | None
STATES: Final = (
    "COMPILED",
    "VALIDATING",
    "VALIDATED",
    "PUBLISHED",
    "REJECTED",
    "QUARANTINED",
    "REVOKED",
    "RETIRED",
    "PURGED",
)
_DIGEST: Final = r"^[0-9a-f]{64}$"
_NAME: Final = r"^[a-z0-9][a-z0-9._-]{0,62}$"


@dataclass(frozen=True)
class LibraryPolicy:
    """What a healthy library looks like."""

    max_relative_error: float = 1e-3
    min_speed_ratio: float = 0.1
    least_median_speed_ratio: float = 0.5
    max_size_bytes: int = 64 * 1024**2
    max_load_ms: float = 1000.0
    min_covered_share: float = 0.01


@dataclass(frozen=True)
class ExpectationResult:
    """One expectation: a sentence that is true when green, and what was seen."""

    name: str
    success: bool
    observed: Plain
    unexpected_count: int
    examples: tuple[Plain, ...]


def check_library(frame: "pd.DataFrame", *, policy: LibraryPolicy | None = None) -> tuple[ExpectationResult, ...]:
    """Run the suite over a frame with one row a kernel and return one result an expectation, in the suite's order.

    Columns: name, kernel_digest, state, speed_ratio, worst_relative_error, size_bytes, load_ms, covered_share. A number
    may be missing where nothing was measured; of a published kernel it may not. A missing column fails what needs it.
    """
    import great_expectations as gx

    kernels = _open_context().data_sources.add_pandas("library").add_dataframe_asset("kernels")
    suite = gx.ExpectationSuite(name="library")
    order: dict[str, int] = {}
    for name, expectation in _expectations(policy or LibraryPolicy()):
        expectation.meta = {"name": name}
        order[name] = len(order)
        suite.add_expectation(expectation)
    batch = kernels.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
    results = [_read_result(found) for found in batch.validate(suite).results]
    return tuple(sorted(results, key=lambda result: order[result.name]))


def _open_context() -> Any:
    """Open a context that lives in memory, prints nothing and tells nobody."""
    import great_expectations as gx
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    config = DataContextConfig(
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
        store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False),
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def _expectations(policy: LibraryPolicy) -> Iterator[tuple[str, Any]]:
    """Yield each expectation with the sentence that is true when it is green."""
    import great_expectations as gx
    from great_expectations.expectations.row_conditions import Column

    # Its metaclass builds the constructors at run time: there is nothing for a type checker to read.
    expect: Any = gx.expectations
    published = {"row_condition": Column("state") == "PUBLISHED"}
    yield "library_is_not_empty", expect.ExpectTableRowCountToBeBetween(min_value=1)
    yield "kernels_stand_once", expect.ExpectColumnValuesToBeUnique(column="kernel_digest")
    yield "digests_are_sha256", expect.ExpectColumnValuesToMatchRegex(column="kernel_digest", regex=_DIGEST)
    yield "names_are_names", expect.ExpectColumnValuesToMatchRegex(column="name", regex=_NAME)
    yield "states_are_known", expect.ExpectColumnValuesToBeInSet(column="state", value_set=list(STATES))
    for column in ("name", "kernel_digest", "state"):
        yield f"{column}_is_given", expect.ExpectColumnValuesToNotBeNull(column=column)
    for column in ("speed_ratio", "worst_relative_error", "covered_share"):
        expectation = expect.ExpectColumnValuesToNotBeNull(column=column, **published)
        yield f"{column}_of_published_kernels_is_measured", expectation
    for name, column, low, high in _bounds(policy):
        expectation = expect.ExpectColumnValuesToBeBetween(column=column, min_value=low, max_value=high, **published)
        yield name, expectation
    yield (
        "library_is_not_slow_as_a_whole",
        expect.ExpectColumnMedianToBeBetween(column="speed_ratio", min_value=policy.least_median_speed_ratio),
    )


def _bounds(policy: LibraryPolicy) -> Iterator[tuple[str, str, float, float | None]]:
    yield "published_kernels_match_eager", "worst_relative_error", 0.0, policy.max_relative_error
    yield "published_kernels_are_not_far_slower", "speed_ratio", policy.min_speed_ratio, None
    yield "published_kernels_are_small", "size_bytes", 1, policy.max_size_bytes
    yield "published_kernels_load_fast", "load_ms", 0.0, policy.max_load_ms
    yield "published_kernels_cover_their_sizes", "covered_share", policy.min_covered_share, 1.0


def _read_result(found: Any) -> ExpectationResult:
    details = found.result or {}
    observed = details.get("observed_value")
    if observed is None and "unexpected_percent" in details:
        observed = details["unexpected_percent"]
    return ExpectationResult(
        name=str(found.expectation_config.meta["name"]),
        success=bool(found.success),
        observed=_plain(observed) if details else "could not be evaluated",
        unexpected_count=int(details.get("unexpected_count") or 0),
        examples=tuple(_plain(value) for value in details.get("partial_unexpected_list") or ()),
    )


def _plain(value: Any) -> Plain:
    """Return a Python scalar: numpy's cannot be written as JSON."""
    plain = value.item() if hasattr(value, "item") else value
    if isinstance(plain, float) and not math.isfinite(plain):
        return str(plain)
    return plain if isinstance(plain, str | int | float | bool | None) else str(plain)
