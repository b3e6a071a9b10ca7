"""Aliases move by compare-and-swap onto published releases, and the index says where they are."""

import itertools
from datetime import UTC, datetime

import psycopg
import pytest

from morph_assets.registry.aliases import (
    alias_at,
    alias_history,
    find_alias,
    freeze_alias,
    move_alias,
    unfreeze_alias,
)
from morph_assets.registry.blueprints import retire_release
from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import (
    AccessRefusedError,
    GuardError,
    InvalidRecordError,
    NotRegisteredError,
    StaleVersionError,
)
from morph_assets.registry.events import events_about
from morph_assets.registry.indexes import next_index
from morph_assets.registry.kernels import revoke_kernel
from tests.support.races import race
from tests.support.registry import TARGET, document_of


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


def test_what_an_alias_was_at_a_moment_is_known(two_releases):
    publisher, moments = two_releases.registry("publisher"), [datetime.now(UTC)]
    for expected, version in ((None, 1), (1, 2), (2, 1)):
        move_alias(publisher, "ffn_gelu", "production", version, expected_row_version=expected)
        moments.append(datetime.now(UTC))
    held = [alias_at(publisher, "ffn_gelu", "production", moment) for moment in moments]
    assert [move and (move.version, move.row_version) for move in held] == [None, (1, 1), (2, 2), (1, 3)]
    exactly = alias_history(publisher, "ffn_gelu", "production")[1].moved_at
    assert alias_at(publisher, "ffn_gelu", "production", exactly).version == 2


def test_a_frozen_alias_moves_for_nobody_until_it_is_unfrozen(two_releases):
    publisher, curator = two_releases.registry("publisher"), two_releases.registry("curator")
    move_alias(publisher, "ffn_gelu", "production", 1, expected_row_version=None)
    assert freeze_alias(curator, "ffn_gelu", "production", reason="release week")
    assert not freeze_alias(curator, "ffn_gelu", "production", reason="release week")
    for mover in (publisher, curator):
        with pytest.raises(GuardError, match=r"frozen by .*_curator: release week"):
            move_alias(mover, "ffn_gelu", "production", 2, expected_row_version=1)
    assert move_alias(publisher, "ffn_gelu", "production", 1, expected_row_version=1) == 1
    found = find_alias(publisher, "ffn_gelu", "production")
    assert (found.version, found.frozen_reason) == (1, "release week")
    assert unfreeze_alias(curator, "ffn_gelu", "production", reason="over")
    assert not unfreeze_alias(curator, "ffn_gelu", "production", reason="over")
    assert move_alias(publisher, "ffn_gelu", "production", 2, expected_row_version=1) == 2
    told = [e.type for e in events_about(two_releases.registry("auditor"), "blueprint/ffn_gelu")][-4:]
    assert told == ["alias.moved", "alias.frozen", "alias.unfrozen", "alias.moved"]


@pytest.mark.parametrize("_", range(5))
def test_a_freeze_and_a_move_at_once_come_one_after_the_other(two_releases, _):  # a repetition
    move_alias(two_releases.registry("publisher"), "ffn_gelu", "production", 1, expected_row_version=None)
    with Registry.open(two_releases.url("publisher")) as mover, Registry.open(two_releases.url("curator")) as freezer:
        moved, frozen = race(
            lambda: move_alias(mover, "ffn_gelu", "production", 2, expected_row_version=1),
            lambda: freeze_alias(freezer, "ffn_gelu", "production", reason="race"),
        )
        types = [e.type for e in events_about(freezer, "blueprint/ffn_gelu")][-2:]
    assert frozen is True
    assert moved == 2 or isinstance(moved, GuardError)
    # Either it moved before, or it met the freeze: the log never tells of a move behind one.
    assert types == ["alias.moved", "alias.frozen"]


@pytest.mark.parametrize("role", ["platform", "compiler", "evaluator", "publisher", "trainer", "controller", "auditor"])
def test_only_curator_and_admin_freeze_and_unfreeze(two_releases, role):
    with pytest.raises(AccessRefusedError):
        freeze_alias(two_releases.registry(role), "ffn_gelu", "production", reason="x")
    with pytest.raises(AccessRefusedError):
        unfreeze_alias(two_releases.registry(role), "ffn_gelu", "production", reason="x")


def test_a_freeze_without_a_reason_or_of_no_alias_is_refused(two_releases):
    curator = two_releases.registry("curator")
    with pytest.raises(NotRegisteredError):
        freeze_alias(curator, "ffn_gelu", "production", reason="x")
    move_alias(curator, "ffn_gelu", "production", 1, expected_row_version=None)
    with pytest.raises(InvalidRecordError):
        freeze_alias(curator, "ffn_gelu", "production", reason="")


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("UPDATE morph.alias SET version = 2 WHERE tenant = %(tenant)s", "MO003"),  # frozen
        ("UPDATE morph.alias SET frozen_reason = NULL, frozen_by = NULL WHERE tenant = %(tenant)s", "MO007"),
        (
            "INSERT INTO morph.alias (tenant, name, alias, version) VALUES (%(tenant)s, 'ffn_gelu', 'x', 3)",
            "MO003",  # release 3 is only submitted
        ),
    ],
)
def test_the_rules_of_an_alias_hold_for_the_superuser_too(two_releases, statement, state):
    two_releases.submitted(text="only submitted")
    move_alias(two_releases.registry("publisher"), "ffn_gelu", "production", 1, expected_row_version=None)
    freeze_alias(two_releases.registry("curator"), "ffn_gelu", "production", reason="x")
    with psycopg.connect(two_releases.admin_url, autocommit=True) as superuser, pytest.raises(psycopg.Error) as refused:
        superuser.execute(statement, {"tenant": two_releases.name})
    assert refused.value.sqlstate == state


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
    raised = {index.generation - (1 << 40) for index in indexes}
    assert len(raised) == 4
    assert min(raised) >= 1


def test_generations_read_at_once_each_know_no_less_than_the_one_before(tenant):
    kernels = [tenant.published(f"k{number}") for number in range(20)]
    url, curator = tenant.url("publisher"), tenant.registry("curator")

    def read_on():
        with Registry.open(url) as registry:
            return [next_index(registry, "ffn_gelu") for _ in range(40)]

    def revoke_all():
        for kernel in kernels:
            revoke_kernel(curator, kernel.digest, reason="race")
        return []

    indexes = sorted((i for read in race(*[read_on] * 3, revoke_all) for i in read), key=lambda i: i.generation)
    assert len({index.generation for index in indexes}) == len(indexes) == 120
    assert len({len(index.revoked) for index in indexes}) > 2  # else nothing happened meanwhile
    for earlier, later in itertools.pairwise(indexes):
        assert earlier.seq <= later.seq
        assert earlier.revoked <= later.revoked


def test_an_index_of_an_unknown_name_is_refused(tenant):
    with pytest.raises(NotRegisteredError):
        next_index(tenant.registry("publisher"), "nobody")
