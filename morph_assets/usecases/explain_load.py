"""Says what a loader of this host would get for a ref, and why."""

from dataclasses import dataclass, replace

from morph_assets.connections import Connections
from morph_assets.usecases.tell_refused_signature import tell_refused_signature
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.cache.counts import Counts
from morph_kernels.cache.crashes import Crash
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.cache.first_calls import FirstCalls
from morph_kernels.identity import KernelDigest
from morph_kernels.reasons import Reason

_REASONS = frozenset(Reason)


@dataclass(frozen=True)
class LoadExplanation:
    """What `load(ref)` gives here and now: a compiled body from `source`, or eager for `reason`.

    `refused` counts what was looked at on the way and not believed, `tiers` how each tier answered. `crashes` are the
    processes of this host that died in a kernel's first call in the last day, told where a kernel is barred for them.
    """

    ref: str
    source: str
    digest: KernelDigest | None
    reason: Reason | None
    refused: dict[str, int]
    tiers: dict[str, dict[str, object]]
    crashes: tuple[Crash, ...] = ()

    @property
    def obstacles(self) -> tuple[Reason, ...]:
        """What stood in the way: why it is eager, then what was refused on the way to a body."""
        found = [name.rpartition(":")[2] for name in self.refused]
        return tuple(Reason(reason) for reason in (self.reason, *found) if reason in _REASONS)


def explain_load(connections: Connections, ref: str) -> LoadExplanation:
    """Load the ref as training would, with this host's cache, and say what happened.

    Raises:
        BlueprintUnreachableError: nobody in reach knows the ref.
        InvalidNameError: it has no valid form.
    """
    from morph_kernels.loader import KernelLoader

    config = connections.config
    loader = KernelLoader(replace(config.runtime, endpoints=config.endpoints, tenant=config.tenant))
    module = loader.load(ref)
    stats = loader.stats()
    for counted in stats["refused"]:  # "<tier>:<reason>"
        tier, _, reason = counted.rpartition(":")
        if reason in _REASONS:
            rejected = Rejected(Reason(reason), f"a loader of this host did not believe it, from {tier or 'an index'}")
            tell_refused_signature(connections, f"ref/{ref}", rejected, role="platform")
    crashes: tuple[Crash, ...] = ()
    if f"disk:{Reason.CRASHED_HERE}" in stats["refused"]:
        folder = DiskFolder(config.runtime.cache_dir, tenant=config.tenant)
        crashes = tuple(FirstCalls(folder, Counts()).crashes())
    return LoadExplanation(ref, module.source, module.digest, module.reason, stats["refused"], stats["tiers"], crashes)
