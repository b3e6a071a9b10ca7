"""Which kernels a policy takes, and why the others stay."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morph_assets.registry.retention import KernelUse, PolicyRecord
from morph_assets.usecases.plan_retirement import plan_retirement

NOW = datetime(2026, 11, 23, 3, 30, tzinfo=UTC)
USED = KernelUse(
    digest="a" * 64,
    blueprint_digest="b" * 64,
    names=["ffn_gelu"],
    state="PUBLISHED",
    device="cpu",
    isa="x86-64-v3",
    dtype="float32",
    torch="2.13.0",
    speed_ratio=1.8,
    bundle_bytes=100,
    created_at=NOW - timedelta(days=200),
    last_used_at=NOW - timedelta(days=30),
    newer_releases=0,
    aliases=[],
    stays_because=None,
)


def policy(kind, name="nightly", *, enabled=True, **parameters):
    return PolicyRecord(name, kind, parameters, 3600, enabled, 1)


def judged(kernel, *policies, beside=()):
    plan = plan_retirement([kernel, *beside], policies, NOW)
    return next((verdict for verdict in plan.retire if verdict.kernel == kernel), None)


@pytest.mark.parametrize(("days", "goes"), [(29, True), (30, True), (31, False)])
def test_what_nobody_used_for_so_long_goes(days, goes):
    verdict = judged(USED, policy("unused", days=days))
    assert (verdict is not None) is goes
    if goes:
        assert (verdict.because, verdict.policy.name) == ("unused for 30 days", "nightly")


@pytest.mark.parametrize(("newer", "goes"), [(0, False), (1, False), (2, True), (None, True)])
def test_what_enough_newer_releases_supersede_goes(newer, goes):
    assert (judged(replace(USED, newer_releases=newer), policy("superseded", keep=2)) is not None) is goes


@pytest.mark.parametrize(
    ("torch", "oldest", "goes"),
    [
        ("2.13.0", "2.13.0", False),
        ("2.13.0", "2.13", False),
        ("2.9.1", "2.13", True),
        ("2.13.0+cu126", "2.13.0", False),
        ("2.12.9", "2.13", True),
        ("2.14.0a0", "2.13", False),
    ],
)
def test_what_an_older_torch_built_goes(torch, oldest, goes):
    assert (judged(replace(USED, torch=torch), policy("outdated_toolchain", torch=oldest)) is not None) is goes


def test_what_another_kernel_of_the_target_outruns_goes_and_the_fastest_never():
    rival = replace(USED, digest="c" * 64, speed_ratio=2.16)
    slower = policy("slower", percent=20)
    assert judged(USED, slower, beside=[rival]).because == f"{'c' * 12} is 20 % faster"
    assert judged(rival, slower, beside=[USED]) is None
    assert judged(USED, policy("slower", percent=21), beside=[rival]) is None
    for other in ("blueprint_digest", "isa", "dtype", "device"):
        assert judged(USED, slower, beside=[replace(rival, **{other: "d" * 64})]) is None
    assert judged(USED, slower, beside=[replace(rival, state="REJECTED")]) is None


def test_a_rival_that_goes_itself_outruns_nobody():
    rival = replace(USED, digest="c" * 64, speed_ratio=9.0, last_used_at=NOW - timedelta(days=90))
    plan = plan_retirement([USED, rival], [policy("slower", percent=20), policy("unused", "old", days=60)], NOW)
    assert [going.kernel.digest for going in plan.retire] == [rival.digest]


def test_what_is_published_behind_an_alias_or_protected_stays_whatever_the_policies_say():
    policies = [policy("unused", days=0), policy("superseded", "b", keep=1), policy("slower", "c", percent=0)]
    behind = replace(USED, aliases=["ffn_gelu@production"], newer_releases=7)
    pinned = replace(USED, digest="c" * 64, stays_because="pinned by ada: paper", newer_releases=7)
    plan = plan_retirement([behind, pinned], policies, NOW)
    assert plan.retire == ()
    assert [kept.because for kept in plan.keep] == ["published behind ffn_gelu@production", "pinned by ada: paper"]
    assert judged(replace(behind, state="VALIDATED"), *policies) is not None


def test_a_disabled_policy_takes_nothing_and_of_several_the_first_by_name_is_told():
    off, second, first = (
        policy("unused", "a", enabled=False, days=0),
        policy("unused", "c", days=1),
        policy("unused", "b", days=2),
    )
    assert judged(USED, off) is None
    assert judged(USED, off, second, first).policy.name == "b"


KERNELS = st.lists(
    st.builds(
        replace,
        st.just(USED),
        digest=st.text("abcdef", min_size=64, max_size=64),
        state=st.sampled_from(["COMPILED", "VALIDATED", "REJECTED", "PUBLISHED", "QUARANTINED", "REVOKED"]),
        speed_ratio=st.none() | st.floats(0.1, 10),
        last_used_at=st.integers(0, 400).map(lambda days: NOW - timedelta(days=days)),
        newer_releases=st.none() | st.integers(0, 5),
        aliases=st.sampled_from([[], ["ffn_gelu@production"]]),
        stays_because=st.none() | st.just("pinned"),
        isa=st.sampled_from(["x86-64-v3", "x86-64-v4"]),
    ),
    max_size=12,
    unique_by=lambda kernel: kernel.digest,
)
POLICIES = st.lists(
    st.sampled_from(
        [
            policy("unused", "a", days=100),
            policy("slower", "b", percent=10),
            policy("superseded", "c", keep=2),
            policy("outdated_toolchain", "d", torch="2.14"),
        ]
    ),
    unique_by=lambda made: made.name,
)


@given(KERNELS, POLICIES)
def test_every_kernel_is_judged_once_and_no_policy_takes_what_serves_or_is_protected(kernels, policies):
    plan = plan_retirement(kernels, policies, NOW)
    told = [verdict.kernel.digest for verdict in (*plan.keep, *plan.retire)]
    assert sorted(told) == sorted(kernel.digest for kernel in kernels)
    for going in plan.retire:
        assert going.kernel.stays_because is None
        assert not (going.kernel.state == "PUBLISHED" and going.kernel.aliases)
    if not policies:
        assert plan.retire == ()


@given(KERNELS, st.integers(0, 50))
def test_comparing_alone_leaves_every_target_its_fastest_kernel(kernels, percent):
    fit = [k for k in kernels if k.state in {"VALIDATED", "PUBLISHED"} and k.speed_ratio is not None]
    plan = plan_retirement(fit, [policy("slower", percent=percent)], NOW)
    kept = {verdict.kernel.isa for verdict in plan.keep}
    assert kept == {kernel.isa for kernel in fit}
