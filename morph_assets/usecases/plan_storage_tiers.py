"""Decides where each kernel lies: hot (Redis and store), warm (store), cold (another place), or dropped. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from morph_assets.config import StoragePolicy
from morph_assets.registry.artifacts import Place
from morph_kernels.identity import KernelDigest

StorageTier = Literal["hot", "warm", "cold", "dropped"]
Step = Literal["none", "move", "warm", "cool", "drop"]


@dataclass(frozen=True)
class StoredKernel:
    """A kernel, where it is, and what speaks for keeping it near.

    Attributes:
        digest: of the kernel.
        names: of its blueprint.
        size_bytes: of its bundle.
        place: what it is switched to.
        copies: the places that hold a bundle of it.
        in_redis: whether Redis does; None where Redis does not answer.
        in_service: whether an index names it.
        idle_days: since it was used last.
        rebuild_s: processor seconds that its build took, or None where this toolchain would not make it again.
        kept_because: why it may not leave: a pin, a checkpoint, an alias, a running job.
    """

    digest: KernelDigest
    names: tuple[str, ...]
    size_bytes: int
    place: Place
    copies: frozenset[Place]
    in_redis: bool | None
    in_service: bool
    idle_days: float
    rebuild_s: float | None
    kept_because: str | None


@dataclass(frozen=True)
class TieredKernel:
    """A kernel, the tier it belongs to and why, and what is still to be done for that."""

    kernel: StoredKernel
    tier: StorageTier
    because: str
    step: Step

    @property
    def place(self) -> Place:
        """Where its bundle belongs."""
        return "cold" if self.tier == "cold" else "store"


def plan_storage_tiers(kernels: Iterable[StoredKernel], policy: StoragePolicy) -> tuple[TieredKernel, ...]:
    """Return the tier of every kernel, in the order of digests.

    What may not leave stays in the store. What was moved halfway is ended: `move` brings the bundle to its place,
    switches to it, and deletes the copy elsewhere, whichever of these is still to be done.
    """
    return tuple(_judge(kernel, policy) for kernel in sorted(kernels, key=lambda kernel: kernel.digest))


def _judge(kernel: StoredKernel, policy: StoragePolicy) -> TieredKernel:
    if not kernel.copies:
        at: StorageTier = "cold" if kernel.place == "cold" else "warm"
        return TieredKernel(kernel, at, "no place in reach holds it: a scrub has it rebuilt", "none")
    tier, because = _choose(kernel, policy)
    judged = TieredKernel(kernel, tier, because, "none")
    if tier == "dropped":
        step: Step = "drop"
    elif kernel.place != judged.place or kernel.copies != {judged.place}:
        step = "move"
    elif policy.hot_days is None or kernel.in_redis is None or kernel.in_redis == (tier == "hot"):
        step = "none"
    else:
        step = "warm" if tier == "hot" else "cool"
    return TieredKernel(kernel, tier, because, step)


def _choose(kernel: StoredKernel, policy: StoragePolicy) -> tuple[StorageTier, str]:
    if policy.hot_days is not None and kernel.in_service and kernel.idle_days < policy.hot_days:
        return "hot", f"used within {policy.hot_days:g} days"
    if kernel.kept_because is not None:
        return "warm", kernel.kept_because
    idle = f"unused for {kernel.idle_days:.0f} days"
    if policy.drop_days is not None and kernel.idle_days >= policy.drop_days and kernel.rebuild_s is not None:
        if kernel.rebuild_s <= policy.drop_build_s:
            return "dropped", f"{idle}, and rebuilt in {kernel.rebuild_s:.0f} s"
        idle += f"; kept, since a build takes {kernel.rebuild_s:.0f} s"
    if policy.cold_url is not None and policy.cold_days is not None and kernel.idle_days >= policy.cold_days:
        return "cold", idle
    return "warm", idle
