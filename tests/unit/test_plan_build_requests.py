"""What becomes of what loaders ask for: registered blueprints are built, everything else gets a plain answer."""

from dataclasses import replace
from datetime import date

import pytest

from morph_assets.usecases.plan_build_requests import Workshop, plan_build_requests
from morph_kernels.artifact.build_request import BuildRequest, read_request
from morph_kernels.artifact.document import MalformedError
from morph_kernels.artifact.target import Runtime
from morph_kernels.identity import BlueprintDigest, KernelDigest, ObjectKey

DIGEST = BlueprintDigest("a" * 64)
RUNTIME = Runtime("cpu", "x86-64-v3", "2.13.0", "2.36", "3.4.30")
REQUEST = BuildRequest(DIGEST, "asked_as", RUNTIME, "2026-11-23")
WORKSHOP = Workshop({DIGEST: "ffn"}, {}, "x86-64-v3", "2.13.0", date(2026, 11, 24))


def answer(request=REQUEST, **facts):
    (answered,) = plan_build_requests([(ObjectKey("k"), request)], replace(WORKSHOP, **facts))
    return answered


def test_a_registered_blueprint_without_a_kernel_in_service_is_built():
    for states in ({}, {DIGEST: {"COMPILED"}}, {DIGEST: {"QUARANTINED", "REJECTED"}}, {DIGEST: {"PURGED"}}):
        built = answer(states=states)
        assert (built.answer, built.name, built.drop) == ("build", "ffn", False)


@pytest.mark.parametrize(
    ("states", "expected"),
    [({"PUBLISHED", "REJECTED"}, "in_service"), ({"REJECTED"}, "refused"), ({"REVOKED", "RETIRED"}, "refused")],
)
def test_what_is_in_service_or_would_be_the_same_again_is_forgotten(states, expected):
    answered = answer(states={DIGEST: states})
    assert (answered.answer, answered.drop) == (expected, True)


def test_what_nobody_registered_waits_a_week_for_somebody_who_does():
    stranger = replace(REQUEST, blueprint_digest=BlueprintDigest("b" * 64))
    assert (answer(stranger).answer, answer(stranger).drop) == ("not_registered", False)
    assert answer(stranger, today=date(2026, 11, 30)).drop is False
    assert answer(stranger, today=date(2026, 12, 1)).drop is True
    assert answer(replace(stranger, day="2026-13-99")).drop is True
    assert "morph blueprint submit" in answer(stranger).told


@pytest.mark.parametrize(
    "runtime",
    [
        replace(RUNTIME, device="cuda", isa="sm_90"),
        replace(RUNTIME, isa="x86-64-v2"),
        replace(RUNTIME, torch="2.14.0"),
    ],
)
def test_what_a_build_here_would_not_help_is_forgotten(runtime):
    answered = answer(replace(REQUEST, runtime=runtime))
    assert (answered.answer, answered.drop) == ("not_for_us", True)


def test_a_newer_processor_runs_what_is_built_here():
    assert answer(replace(REQUEST, runtime=replace(RUNTIME, isa="x86-64-v4"))).answer == "build"


def test_a_request_reads_as_it_was_written_and_another_day_is_another_one():
    assert BuildRequest.from_bytes(REQUEST.to_bytes()) == REQUEST
    assert replace(REQUEST, day="2026-11-24").digest != REQUEST.digest


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        REQUEST.to_bytes() + b" ",
        REQUEST.to_bytes().replace(b"asked_as", b"../up"),
        REQUEST.to_bytes().replace(b"2026-11-23", b"tomorrow"),
        REQUEST.to_bytes().replace(b'"day"', b'"dax"'),
        b"x" * 5000,
    ],
)
def test_what_is_no_request_is_forgotten(data):
    assert read_request(data) is None
    with pytest.raises(MalformedError):
        BuildRequest.from_bytes(data)
    assert (answer(None).answer, answer(None).drop) == ("malformed", True)


def test_a_cold_kernel_is_recalled_and_not_built_also_of_an_older_release():
    cold = {DIGEST: (KernelDigest("c" * 64),)}
    for facts in ({"states": {DIGEST: {"PUBLISHED"}}}, {"releases": {}}):
        recalled = answer(cold=cold, **facts)
        assert (recalled.answer, recalled.recall, recalled.drop) == ("recall", cold[DIGEST], False)
