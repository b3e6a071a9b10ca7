"""Goes over the library once: retires what a policy takes, and removes what nobody brought back in time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from morph_assets.connections import Connections
from morph_assets.registry.errors import GuardError, IllegalTransitionError
from morph_assets.registry.pins import list_pins, unpin
from morph_assets.registry.removal import TombstoneRecord, list_tombstones, retire_kernel
from morph_assets.registry.retention import iter_kernel_uses, list_policies
from morph_assets.registry.usage import meter_storage
from morph_assets.usecases.acknowledge import acknowledged
from morph_assets.usecases.plan_retirement import RetirableKernel, RetirementPlan, plan_retirement
from morph_assets.usecases.publish_index import refresh_index
from morph_assets.usecases.purge_kernel import KernelInWorkError, purge_kernel
from morph_kernels.identity import KernelDigest

Decision = Literal["kept", "retired", "tombstoned", "purged", "refused"]


@dataclass(frozen=True)
class CuratedKernel:
    """One kernel and what became of it, or would in a dry run.

    `tombstoned` were retired before and can still come back; `refused` would have gone, but the registry objected.
    `store_bytes` is what it takes of the store.
    """

    digest: KernelDigest
    names: tuple[str, ...]
    decision: Decision
    because: str
    policy: str
    store_bytes: int


@dataclass(frozen=True)
class CurationReport:
    """What one round decided, each kernel once: those that went first, then those that stayed."""

    kernels: tuple[CuratedKernel, ...]
    dry_run: bool

    def count(self, decision: Decision) -> int:
        """Return how many kernels were decided so."""
        return sum(kernel.decision == decision for kernel in self.kernels)

    @property
    def freed_bytes(self) -> int:
        """How much of the store came free."""
        return self._sum_bytes("purged")

    @property
    def frees_bytes(self) -> int:
        """How much more comes free once the graces are over."""
        return self._sum_bytes("retired") + self._sum_bytes("tombstoned")

    def _sum_bytes(self, decision: Decision) -> int:
        return sum(kernel.store_bytes for kernel in self.kernels if kernel.decision == decision)


@acknowledged
def curate_kernels(connections: Connections, *, dry_run: bool = False) -> CurationReport:
    """Judge every kernel by the policies, carry that out, and purge the tombstones whose grace is over.

    What one round leaves undone, because it died or something was in the way, the next one does.

    Raises:
        StoreError: the store does not answer; what was done before stays done.
    """
    registry = connections.registry("curator")
    plan = plan_retirement(iter_kernel_uses(registry), list_policies(registry), datetime.now(UTC))
    stones = list_tombstones(registry, purged=False)
    if not dry_run:
        _drop_ended_pins(connections)
    gone = [_purge(connections, stone, dry_run=dry_run) for stone in stones]
    went = [_retire(connections, going, dry_run=dry_run) for going in plan.retire]
    if not dry_run:
        meter_storage(registry)
        for name in sorted({name for kernel in went if kernel.decision == "retired" for name in kernel.names}):
            refresh_index(connections, name)
    return CurationReport((*gone, *went, *_kept(plan)), dry_run)


def _retire(connections: Connections, going: RetirableKernel, *, dry_run: bool) -> CuratedKernel:
    kernel, policy = going.kernel, going.policy
    decision: Decision = "retired"
    because = going.because
    if not dry_run:
        try:
            retire_kernel(
                connections.registry("curator"),
                kernel.digest,
                reason=because,
                policy=policy.name,
                grace_s=policy.grace_s,
            )
        except (GuardError, IllegalTransitionError) as error:  # something began to need it since it was read
            decision, because = "refused", str(error)
    return CuratedKernel(kernel.digest, tuple(kernel.names), decision, because, policy.name, kernel.bundle_bytes)


def _purge(connections: Connections, stone: TombstoneRecord, *, dry_run: bool) -> CuratedKernel:
    decision: Decision = "purged" if stone.is_due else "tombstoned"
    because = (
        stone.reason if stone.is_due else f"{stone.reason}; can come back until {stone.grace_until:%Y-%m-%d %H:%M}"
    )
    if stone.is_due and not dry_run:
        try:
            purge_kernel(connections, stone.kernel_digest)
        except (GuardError, KernelInWorkError) as error:
            decision, because = "refused", str(error)
    return CuratedKernel(stone.kernel_digest, (), decision, because, stone.policy, stone.bundle_bytes)


def _kept(plan: RetirementPlan) -> Iterator[CuratedKernel]:
    for kept in plan.keep:
        kernel = kept.kernel
        yield CuratedKernel(kernel.digest, tuple(kernel.names), "kept", kept.because, "", kernel.bundle_bytes)


def _drop_ended_pins(connections: Connections) -> None:
    registry = connections.registry("curator")
    for pin in list_pins(registry):
        if not pin.holds:
            unpin(registry, pin.subject, reason="its time is over")
