"""Decides which kernels go, and says of each why it goes or stays."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from morph_assets.registry.kernels import FIT_STATES
from morph_assets.registry.retention import KernelUse, PolicyRecord
from morph_kernels.identity import KernelDigest


@dataclass(frozen=True)
class KeptKernel:
    """A kernel that stays."""

    kernel: KernelUse
    because: str


@dataclass(frozen=True)
class RetirableKernel:
    """A kernel that a policy takes."""

    kernel: KernelUse
    policy: PolicyRecord
    because: str


@dataclass(frozen=True)
class RetirementPlan:
    """What stays and what goes, each kernel once, in the order of digests."""

    keep: tuple[KeptKernel, ...]
    retire: tuple[RetirableKernel, ...]


def plan_retirement(kernels: Iterable[KernelUse], policies: Sequence[PolicyRecord], now: datetime) -> RetirementPlan:
    """Judge every kernel by the enabled policies, in the order of their names; the first that takes it is named.

    What the registry protects stays, and so does a published kernel behind an alias. A kernel is slower only than one
    that stays itself, so that of a blueprint's kernels the fastest is never lost to comparisons.
    """
    enabled = sorted((policy for policy in policies if policy.enabled), key=lambda policy: policy.name)
    judged = [(kernel, _judge(kernel, enabled, now)) for kernel in sorted(kernels, key=lambda kernel: kernel.digest)]
    fastest = _fastest(kernel for kernel, verdict in judged if not isinstance(verdict, RetirableKernel))
    final = [verdict or _compare(kernel, enabled, fastest) for kernel, verdict in judged]
    return RetirementPlan(
        keep=tuple(verdict for verdict in final if isinstance(verdict, KeptKernel)),
        retire=tuple(verdict for verdict in final if isinstance(verdict, RetirableKernel)),
    )


def _judge(kernel: KernelUse, policies: Sequence[PolicyRecord], now: datetime) -> KeptKernel | RetirableKernel | None:
    """Return the verdict that needs no other kernel, or None."""
    if kernel.stays_because is not None:
        return KeptKernel(kernel, kernel.stays_because)
    if kernel.state == "PUBLISHED" and kernel.aliases:
        return KeptKernel(kernel, f"published behind {', '.join(kernel.aliases)}")
    for policy in policies:
        because = _objection(kernel, policy, now)
        if because is not None:
            return RetirableKernel(kernel, policy, because)
    return None


def _objection(kernel: KernelUse, policy: PolicyRecord, now: datetime) -> str | None:
    match policy.kind:
        case "unused":
            days = (now - kernel.last_used_at).days
            return f"unused for {days} days" if days >= policy.parameters["days"] else None
        case "superseded":
            newer = kernel.newer_releases
            if newer is None:
                return "none of its releases is in use"
            return f"{newer} newer releases are there" if newer >= policy.parameters["keep"] else None
        case "outdated_toolchain":
            oldest = policy.parameters["torch"]
            return f"built with torch {kernel.torch}, before {oldest}" if _older(kernel.torch, oldest) else None
        case "slower":
            return None  # compared with others, afterwards


_Target = tuple[str, str, str, str]


def _fastest(kernels: Iterable[KernelUse]) -> dict[_Target, tuple[float, KernelDigest]]:
    found: dict[_Target, tuple[float, KernelDigest]] = {}
    for kernel in kernels:
        if kernel.state in FIT_STATES and kernel.speed_ratio is not None:
            rival = (kernel.speed_ratio, kernel.digest)
            found[_target(kernel)] = max(found.get(_target(kernel), rival), rival)
    return found


def _compare(
    kernel: KernelUse, policies: Sequence[PolicyRecord], fastest: dict[_Target, tuple[float, KernelDigest]]
) -> KeptKernel | RetirableKernel:
    ratio, digest = fastest.get(_target(kernel), (0.0, None))
    for policy in policies:
        if policy.kind == "slower" and kernel.speed_ratio is not None and digest != kernel.digest:
            percent = round((ratio / kernel.speed_ratio - 1) * 100)
            if percent >= policy.parameters["percent"] and ratio > kernel.speed_ratio:
                return RetirableKernel(kernel, policy, f"{str(digest)[:12]} is {percent} % faster")
    return KeptKernel(kernel, "no policy takes it")


def _target(kernel: KernelUse) -> _Target:
    return (kernel.blueprint_digest, kernel.device, kernel.isa, kernel.dtype)


def _older(version: str, oldest: str) -> bool:
    return _numbers(version) < _numbers(oldest)


def _numbers(version: str) -> tuple[int, ...]:
    """Return a version's leading numbers; what is no number ends them."""
    numbers: list[int] = []
    for part in version.split("+", maxsplit=1)[0].split("."):
        if not part.isdecimal():
            break
        numbers.append(int(part))
    return tuple(numbers)
