"""Decides what becomes of each kernel that a loader asked for. Pure: requests and facts come in, answers go out."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final, Literal

from morph_kernels.artifact.build_request import BuildRequest
from morph_kernels.artifact.target import CPU_LEVELS
from morph_kernels.identity import BlueprintDigest, KernelDigest, ObjectKey

Answer = Literal["build", "recall", "in_service", "not_registered", "refused", "not_for_us", "malformed"]
# What nobody registered meanwhile is forgotten.
_PATIENCE: Final = timedelta(days=7)
# Compiled again they would be the same kernel.
_HOPELESS: Final = frozenset({"REJECTED", "REVOKED", "RETIRED"})


@dataclass(frozen=True)
class AnsweredRequest:
    """A request and its answer; `drop` where nothing more will come of it; `recall` names cold kernels."""

    key: ObjectKey
    name: str
    answer: Answer
    told: str
    drop: bool
    recall: tuple[KernelDigest, ...] = ()


@dataclass(frozen=True)
class Workshop:
    """What this platform has and can make.

    Attributes:
        releases: the newest release's blueprint of each name in use.
        states: the states of the kernels of each of these blueprints.
        isa: what kernels are built for here.
        torch: what kernels are evaluated under here.
        today: the day.
        cold: the kernels in service that lie in the cold place, by blueprint.
    """

    releases: Mapping[BlueprintDigest, str]
    states: Mapping[BlueprintDigest, Collection[str]]
    isa: str
    torch: str
    today: date
    cold: Mapping[BlueprintDigest, tuple[KernelDigest, ...]] = field(default_factory=dict)


def plan_build_requests(
    requests: Iterable[tuple[ObjectKey, BuildRequest | None]], workshop: Workshop
) -> tuple[AnsweredRequest, ...]:
    """Return an answer to every request, in the order of their names; only registered blueprints are ever built."""
    answered = [_recall(key, request, workshop) or _answer(key, request, workshop) for key, request in requests]
    return tuple(sorted(answered, key=lambda one: (one.name, one.key)))


def _recall(key: ObjectKey, request: BuildRequest | None, workshop: Workshop) -> AnsweredRequest | None:
    """Return the answer to whoever asks for a cold kernel, of older releases too, or None."""
    cold = () if request is None else workshop.cold.get(request.blueprint_digest, ())
    if request is None or not cold:
        return None
    name = workshop.releases.get(request.blueprint_digest, request.name)
    return AnsweredRequest(key, name, "recall", "its kernel is cold", drop=False, recall=cold)


def _answer(key: ObjectKey, request: BuildRequest | None, workshop: Workshop) -> AnsweredRequest:
    if request is None:
        return AnsweredRequest(key, "", "malformed", "these bytes are no request", drop=True)
    name = workshop.releases.get(request.blueprint_digest)
    if name is None:
        old = _day_of(request) < workshop.today - _PATIENCE
        told = f"not the newest release of any name: `morph blueprint submit` {request.name} to have it built"
        return AnsweredRequest(key, request.name, "not_registered", told, drop=old)
    problem = _why_not_for_us(request, workshop)
    if problem is not None:
        return AnsweredRequest(key, name, "not_for_us", problem, drop=True)
    states = frozenset(workshop.states.get(request.blueprint_digest, ()))
    if "PUBLISHED" in states:
        return AnsweredRequest(key, name, "in_service", "a kernel is in service", drop=True)
    if states and states <= _HOPELESS:
        told = f"its kernel is {' and '.join(sorted(states))}: a build would make the same one"
        return AnsweredRequest(key, name, "refused", told, drop=True)
    return AnsweredRequest(key, name, "build", "no kernel is in service", drop=False)


def _why_not_for_us(request: BuildRequest, workshop: Workshop) -> str | None:
    wanted = request.runtime
    if wanted.device != "cpu" or wanted.isa not in CPU_LEVELS:
        return f"no recipe for {wanted.device} {wanted.isa}"
    if CPU_LEVELS.index(wanted.isa) < CPU_LEVELS.index(workshop.isa):
        return f"its host has {wanted.isa}, kernels are built for {workshop.isa}"
    if wanted.torch != workshop.torch:
        return f"it runs torch {wanted.torch}, kernels are evaluated under {workshop.torch} here"
    return None


def _day_of(request: BuildRequest) -> date:
    try:
        return date.fromisoformat(request.day)
    except ValueError:
        return date.min
