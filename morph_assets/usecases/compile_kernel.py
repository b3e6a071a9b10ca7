"""Compiles a blueprint once: whatever happens, one build key has one build and one row."""

import resource
import time
from dataclasses import dataclass
from typing import ClassVar

from morph_assets.connections import Connections
from morph_assets.registry import builds, kernels, removal
from morph_assets.registry.builds import BuildCost
from morph_assets.registry.held_lease import hold_lease
from morph_assets.registry.kernels import KernelRecord
from morph_assets.registry.leases import Lease
from morph_assets.registry.quotas import BUILDS_PER_DAY, require_quota
from morph_assets.usecases.acknowledge import acknowledged
from morph_assets.usecases.find_release import find_release
from morph_assets.usecases.plan_compilation import plan_compilation
from morph_assets.usecases.register_build import ISOLATION, register_build
from morph_kernels.compile.builder import BuildPlan, apply_build
from morph_kernels.errors import MorphError
from morph_kernels.identity import BlueprintDigest, BuildKey, KernelDigest
from morph_kernels.store import ObjectNotFoundError

_WAIT_S = 900.0
_POLL_S = 0.25


@dataclass(frozen=True)
class CompiledKernel:
    """The kernel of a build key; `built` says whether this very call started the compiler, seconds are its cost."""

    digest: KernelDigest
    build_key: BuildKey
    blueprint_digest: BlueprintDigest
    state: str
    size_bytes: int
    wall_s: float
    cpu_s: float
    built: bool


class BuildBusyError(MorphError):
    """Another process held the build for longer than any build takes."""

    retryable: ClassVar[bool] = True

    def __init__(self, name: str) -> None:
        super().__init__(f"another process is compiling {name} and does not finish; try again")


@acknowledged
def compile_kernel(
    connections: Connections,
    name: str,
    *,
    version: int | None = None,
    pipeline: str = "standard",
    wait_s: float = _WAIT_S,
) -> CompiledKernel:
    """Return the kernel of a release for this machine's target, compiled now if nobody compiled it before.

    Where the registry has the build key already, no compiler is started, not even to ask for its version.

    Raises:
        CompileError: the blueprint cannot be compiled; the failed build is recorded.
        SandboxError: a limit was reached; recorded too.
        BuildBusyError: another process holds the build for longer than `wait_s`.
        NotRegisteredError: there is no such release.
        QuotaExceededError: the tenant has built as often as it may today; nothing was started.
        GuardError: the kernel's bytes are lost, and a checkpoint needs exactly that kernel.
    """
    release = find_release(connections, name, version=version)
    plan = plan_compilation(connections, release.blueprint, pipeline=pipeline)
    registry, until = connections.registry("compiler"), time.monotonic() + wait_s
    while True:
        found = kernels.find_kernel(registry, build_key=plan.key)
        if found is not None and not _is_lost(connections, found):
            return _describe(connections, found, built=False)
        with hold_lease(registry, f"build/{plan.key}") as lease:
            if lease is not None:
                # Looked up once more: the holder before us may just have finished.
                found = kernels.find_kernel(registry, build_key=plan.key)
                if found is not None and not _is_lost(connections, found):
                    return _describe(connections, found, built=False)
                return _describe(connections, _build(connections, plan, lease, lost=found), built=True)
        if time.monotonic() >= until:
            raise BuildBusyError(plan.blueprint.name)
        time.sleep(_POLL_S)


def _is_lost(connections: Connections, kernel: KernelRecord) -> bool:
    """Return whether a scrub found no whole copy of the kernel and gave it up."""
    return kernel.state == "QUARANTINED" and not _has_bytes(connections, kernel)


def _has_bytes(connections: Connections, kernel: KernelRecord) -> bool:
    try:
        return connections.store.size(kernel.bundle_key) > 0
    except ObjectNotFoundError:
        return False


def _build(connections: Connections, plan: BuildPlan, lease: Lease, *, lost: KernelRecord | None) -> KernelRecord:
    require_quota(connections.registry("compiler"), BUILDS_PER_DAY)
    began, used = time.monotonic(), _children_cpu_s()
    try:
        built = apply_build(plan, headers_root=connections.home / "headers")
    except MorphError as error:
        cost = BuildCost(_children_cpu_s() - used, time.monotonic() - began, ISOLATION, log_tail=str(error))
        reason = "sandbox" if error.retryable else "refused"
        registry = connections.registry("compiler")
        builds.record_failed_build(registry, plan.blueprint.digest, plan.key, reason=reason, cost=cost)
        raise
    if lost is not None and lost.digest != built.manifest.digest:
        # Not the same bits again: another kernel, which can have the build key only once the lost one has left it.
        reason = "its bytes are lost; compiled anew"
        removal.retire_kernel(connections.registry("curator"), lost.digest, reason=reason)
    return register_build(connections, built, lease)


def _describe(connections: Connections, kernel: KernelRecord, *, built: bool) -> CompiledKernel:
    runs = builds.list_builds(connections.registry("compiler"), build_key=kernel.build_key)
    cost = next((run for run in runs if run.kernel_digest == kernel.digest), None)
    return CompiledKernel(
        digest=kernel.digest,
        build_key=kernel.build_key,
        blueprint_digest=kernel.blueprint_digest,
        state=kernel.state,
        size_bytes=kernel.size_bytes,
        wall_s=cost.wall_s if cost else 0.0,
        cpu_s=cost.cpu_s if cost else 0.0,
        built=built,
    )


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
