"""Retention policies: kept by compare-and-swap, told, and never stronger than an alias."""

import pytest

from morph_assets.registry.aliases import move_alias
from morph_assets.registry.errors import (
    GuardError,
    InvalidRecordError,
    StaleVersionError,
)
from morph_assets.registry.events import events_about
from morph_assets.registry.retention import list_policies, set_policy
from tests.support.registry import state_of
from tests.support.removals import agrees, retire


def test_no_policy_takes_a_published_kernel_behind_an_alias(tenant):
    kernel = tenant.published()
    tenant.published("another")
    move_alias(tenant.registry("publisher"), "ffn_gelu", "production", 1, expected_row_version=None)
    with pytest.raises(GuardError, match="no policy retires"):
        retire(tenant, kernel, policy="nightly")
    retire(tenant, kernel)  # a curator may: another kernel serves
    assert state_of(tenant, kernel) == "RETIRED"


def test_policies_are_kept_by_compare_and_swap_and_told(tenant):
    curator = tenant.registry("curator")
    assert set_policy(curator, "nightly", "unused", {"days": 90}) == 1
    with pytest.raises(StaleVersionError):
        set_policy(curator, "nightly", "unused", {"days": 1})
    assert set_policy(curator, "nightly", "slower", {"percent": 20}, enabled=False, expected_row_version=1) == 2
    with pytest.raises(StaleVersionError):
        set_policy(curator, "nightly", "unused", {"days": 1}, expected_row_version=1)
    (policy,) = list_policies(tenant.registry("platform"))
    assert (policy.kind, policy.parameters, policy.enabled) == ("slower", {"percent": 20}, False)
    assert [e.facts["kind"] for e in events_about(curator, "policy/nightly")] == ["unused", "slower"]
    assert agrees(tenant)


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("unused", {}),
        ("unused", {"days": "90"}),
        ("unused", {"days": -1}),
        ("unused", {"days": 1.5}),
        ("unused", {"days": 90, "percent": 1}),
        ("unused", {"days": None}),
        ("slower", {"days": 90}),
        ("superseded", {"keep": 0}),
        ("outdated_toolchain", {"torch": 2}),
        ("outdated_toolchain", {"torch": "new"}),
        ("whim", {}),
    ],
)
def test_a_policy_with_other_parameters_than_its_kind_has_is_refused(tenant, kind, parameters):
    with pytest.raises(InvalidRecordError):
        set_policy(tenant.registry("curator"), "nightly", kind, parameters)
