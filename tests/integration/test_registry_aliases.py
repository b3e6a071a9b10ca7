"""Aliases move by compare-and-swap onto published releases, and the index says where they are."""

import threading

import pytest

from morph_assets.registry.aliases import alias_history, find_alias, list_aliases, move_alias
from morph_assets.registry.blueprints import retire_release
from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import (
    AccessRefusedError,
    GuardError,
    InvalidRecordError,
    NotRegisteredError,
    RegistryError,
    StaleVersionError,
)
from morph_assets.registry.indexes import next_index
from morph_assets.registry.kernels import revoke_kernel
from tests.support.registry import TARGET, document_of


def race(*calls):
    """Run the calls at the same moment; return each one's result or refusal."""
    outcomes, start = [None] * len(calls), threading.Barrier(len(calls))

    def run(place, call):
        start.wait()
        try:
            outcomes[place] = call()
        except RegistryError as error:
            outcomes[place] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.fixture
def two_releases(tenant):
    tenant.published("k1", blueprint="one")
    tenant.published("k2", blueprint="two")
    return tenant


def test_an_alias_moves_and_its_history_stays(two_releases):
    publisher = two_releases.registry("publisher")
    assert move_alias(publisher, "ffn_gelu", "production", 1, expected_row_version=None) == 1
    assert move_alias(publisher, "ffn_gelu", "production", 2, expected_row_version=1) == 2
    assert move_alias(publisher, "ffn_gelu", "production", 1, expected_row_version=2) == 3
    found = find_alias(publisher, "ffn_gelu", "production")
    assert (found.version, found.row_version) == (1, 3)
    moves = alias_history(publisher, "ffn_gelu", "production")
    assert [move.version for move in moves] == [1, 2, 1]
    assert [move.since_seq for move in moves] == sorted(move.since_seq for move in moves)
    assert {move.actor for move in moves} == {f"morph_{two_releases.name}_publisher"}


def test_a_stale_row_version_moves_nothing(two_releases):
    publisher = two_releases.registry("publisher")
    move_alias(publisher, "ffn_gelu", "production", 1, expected_row_version=None)
    for expected in (None, 7):
        with pytest.raises(StaleVersionError):
            move_alias(publisher, "ffn_gelu", "production", 2, expected_row_version=expected)
    assert find_alias(publisher, "ffn_gelu", "production").version == 1


def test_moving_an_alias_to_where_it_points_is_no_move(two_releases):
    publisher = two_releases.registry("publisher")
    for expected in (None, None, 1):
        assert move_alias(publisher, "ffn_gelu", "production", 1, expected_row_version=expected) == 1
    assert len(alias_history(publisher, "ffn_gelu", "production")) == 1


@pytest.mark.parametrize("_", range(5))
def test_of_two_racing_moves_one_wins(two_releases, _):  # a repetition, not a fixture
    move_alias(two_releases.registry("publisher"), "ffn_gelu", "production", 1, expected_row_version=None)
    url = two_releases.url("publisher")
    with Registry.open(url) as one, Registry.open(url) as other:
        outcomes = race(
            lambda: move_alias(one, "ffn_gelu", "production", 2, expected_row_version=1),
            lambda: move_alias(other, "ffn_gelu", "production", 2, expected_row_version=1),
        )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["StaleVersionError", "int"]


@pytest.mark.parametrize("_", range(8))
def test_an_alias_cannot_be_raced_onto_a_release_being_retired(two_releases, _):  # a repetition
    with Registry.open(two_releases.url("publisher")) as mover, Registry.open(two_releases.url("curator")) as retirer:
        moved, retired = race(
            lambda: move_alias(mover, "ffn_gelu", "production", 1, expected_row_version=None),
            lambda: retire_release(retirer, "ffn_gelu", 1, reason="race"),
        )
        assert isinstance(moved, GuardError) != isinstance(retired, GuardError)
        assert len(list_aliases(mover)) == (moved == 1)


def test_an_alias_on_an_unpublished_a_retired_or_no_release_is_refused(tenant):
    tenant.published("k1", blueprint="one")
    tenant.evaluated("k2", blueprint="two")
    retire_release(tenant.registry("curator"), "ffn_gelu", 1, reason="old")
    publisher = tenant.registry("publisher")
    for version in (1, 2):
        with pytest.raises(GuardError, match="published releases"):
            move_alias(publisher, "ffn_gelu", "production", version, expected_row_version=None)
    with pytest.raises(NotRegisteredError):
        move_alias(publisher, "ffn_gelu", "production", 3, expected_row_version=None)


@pytest.mark.parametrize("alias", ["latest", "7", "v7", "Prod", "a|b", ""])
def test_an_alias_that_looks_like_a_version_is_refused(two_releases, alias):
    with pytest.raises(InvalidRecordError):
        move_alias(two_releases.registry("publisher"), "ffn_gelu", alias, 1, expected_row_version=None)


@pytest.mark.parametrize("role", ["platform", "compiler", "evaluator", "trainer", "controller", "auditor"])
def test_only_publisher_and_curator_move_aliases(two_releases, role):
    with pytest.raises(AccessRefusedError):
        move_alias(two_releases.registry(role), "ffn_gelu", "production", 1, expected_row_version=None)


def test_the_index_says_all_that_a_loader_needs(tenant):
    kernel = tenant.published("k1", blueprint="one")
    revoked = tenant.published("k2", blueprint="two")
    tenant.submitted(text="only submitted")
    publisher = tenant.registry("publisher")
    move_alias(publisher, "ffn_gelu", "production", 1, expected_row_version=None)
    revoke_kernel(publisher, revoked.digest, reason="wrong")
    index = next_index(publisher, "ffn_gelu")
    assert (index.tenant, index.name, index.aliases) == (tenant.name, "ffn_gelu", {"production": 1})
    assert [(r.version, r.document) for r in index.releases] == [
        (1, document_of("one")[1]),
        (2, document_of("two")[1]),
    ]
    (variant,) = index.variants
    assert (variant.kernel_digest, variant.target, variant.size_bytes) == (kernel.digest, TARGET, 700_000)
    assert variant.speed_ratio == 1.8
    assert variant.attestations == (b"provenance of k1", b"verification k1")
    assert index.revoked == {revoked.digest}


def test_generations_rise_under_a_race_and_begin_in_their_timeline(two_releases):
    url = two_releases.url("publisher")
    registries = [Registry.open(url) for _ in range(4)]
    indexes = race(*(lambda registry=registry: next_index(registry, "ffn_gelu") for registry in registries))
    for registry in registries:
        registry.close()
    assert sorted(index.generation for index in indexes) == [(1 << 40) + n for n in (1, 2, 3, 4)]


def test_an_index_of_an_unknown_name_is_refused(tenant):
    with pytest.raises(NotRegisteredError):
        next_index(tenant.registry("publisher"), "nobody")
