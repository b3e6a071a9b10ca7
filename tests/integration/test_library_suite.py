"""Great Expectations over the library as a whole."""

import json
from dataclasses import asdict

import pytest

from morph_assets.evaluation.library_suite import check_library


@pytest.fixture
def library():
    import pandas as pd

    return pd.DataFrame(
        {
            "name": ["ffn_gelu", "conv.block", "new"],
            "kernel_digest": ["a" * 64, "b" * 64, "c" * 64],
            "state": ["PUBLISHED", "PUBLISHED", "COMPILED"],
            "speed_ratio": [1.3, 0.7, None],
            "worst_relative_error": [3e-7, 4e-6, None],
            "size_bytes": [700_000, 800_000, 650_000],
            "load_ms": [1.2, 0.9, None],
            "covered_share": [1.0, 0.5, None],
        }
    )


def failed(frame):
    return {result.name for result in check_library(frame) if not result.success}


def test_a_healthy_library_meets_every_expectation_in_plain_values(library, capfd):
    results = check_library(library)
    assert [result.name for result in results if not result.success] == []
    assert len({result.name for result in results}) == len(results) >= 15
    assert results[0].observed == 3
    json.dumps([asdict(result) for result in results], allow_nan=False)
    assert "Calculating Metrics" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("column", "value", "name"),
    [
        ("name", "Bad|Name", "names_are_names"),
        ("name", None, "name_is_given"),
        ("kernel_digest", "b" * 64, "kernels_stand_once"),
        ("kernel_digest", "short", "digests_are_sha256"),
        ("state", "LOST", "states_are_known"),
        ("speed_ratio", 0.05, "published_kernels_are_not_far_slower"),
        ("speed_ratio", None, "speed_ratio_of_published_kernels_is_measured"),
        ("worst_relative_error", 0.1, "published_kernels_match_eager"),
        ("size_bytes", 10**9, "published_kernels_are_small"),
        ("size_bytes", 0, "published_kernels_are_small"),
        ("load_ms", 5000.0, "published_kernels_load_fast"),
        ("covered_share", 0.0, "published_kernels_cover_their_sizes"),
    ],
)
def test_one_bad_kernel_fails_its_expectation(library, column, value, name):
    library.loc[0, column] = value
    assert name in failed(library)


def test_a_kernel_that_is_not_published_may_be_bad_or_unmeasured(library):
    library.loc[2, "worst_relative_error"] = 7.0
    assert failed(library) == set()


def test_a_bad_value_is_shown_and_is_a_plain_number(library):
    library.loc[0, "worst_relative_error"] = 0.1
    (result,) = (found for found in check_library(library) if not found.success)
    assert result.unexpected_count == 1
    assert result.examples == (0.1,)
    assert type(result.examples[0]) is float


def test_a_library_that_is_slow_as_a_whole_is_noticed(library):
    library["speed_ratio"] = [0.2, 0.3, None]
    assert failed(library) == {"library_is_not_slow_as_a_whole"}


def test_a_missing_column_fails_and_says_so(library):
    results = {r.name: r for r in check_library(library.drop(columns="speed_ratio"))}
    assert not results["published_kernels_are_not_far_slower"].success
    assert results["published_kernels_are_not_far_slower"].observed == "could not be evaluated"
    assert results["published_kernels_match_eager"].success


def test_an_empty_library_is_said_to_be_empty(library):
    assert "library_is_not_empty" in failed(library.iloc[:0])
