"""Reads stored kernels back, tier by tier, and mends what is damaged from a copy that is whole."""

import time
from dataclasses import dataclass
from typing import Literal

from morph_assets.connections import Connections
from morph_assets.registry.artifacts import ArtifactEvent, find_place, tell_artifact
from morph_assets.registry.errors import IllegalTransitionError
from morph_assets.registry.kernels import KernelRecord, kernels_after
from morph_assets.usecases.acknowledge import acknowledged
from morph_assets.usecases.find_copies import KernelCopy, find_copies
from morph_assets.usecases.measure_caches import TierName
from morph_assets.usecases.quarantine_kernel import quarantine_kernel
from morph_assets.usecases.store_bundle import store_bundle
from morph_assets.usecases.verify_kernel import judge_signatures
from morph_kernels.artifact.bundle import KernelBundle, encode_bundle
from morph_kernels.artifact.manifest import parse_manifest
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import BlobDigest, KernelDigest
from morph_kernels.reasons import Reason
from morph_kernels.store.keys import blob_key

Action = Literal["repaired", "dropped", "rebuild_wanted", "reported"]
_MENDED: frozenset[Action] = frozenset({"repaired", "dropped"})


@dataclass(frozen=True)
class Damage:
    """One bad copy and what was done.

    Repaired; dropped: it is gone from a cache that did not take a whole one, so loaders go on to the next tier;
    rebuild_wanted: no good copy is left, the kernel is out of service; reported: people must act, because nobody
    vouches for the bytes any more, or a cache keeps what it holds.
    """

    tier: TierName
    digest: KernelDigest
    reason: Reason
    action: Action

    @property
    def is_mended(self) -> bool:
        """Whether nobody is given these bytes again, and nobody has to do anything."""
        return self.action in _MENDED


@dataclass(frozen=True)
class ScrubReport:
    """How many kernels were read, what was damaged, and where to go on; None says that the round is complete."""

    checked: int
    damaged: tuple[Damage, ...]
    next_cursor: KernelDigest | None
    read_bytes: int = 0

    @property
    def is_mended(self) -> bool:
        """Whether no damage is left that this scrub found."""
        return all(damage.is_mended for damage in self.damaged)


@acknowledged
def scrub_artifacts(
    connections: Connections, *, after: KernelDigest | None = None, limit: int = 50, bytes_per_s: int | None = None
) -> ScrubReport:
    """Check the next kernels in store, Redis and this host's disk: bytes against digests, then who vouches for them.

    Args:
        connections: the platform's servers.
        after: go on behind this kernel.
        limit: at most so many kernels.
        bytes_per_s: read no faster than this on average, so that training has the tiers; the platform's own by default.

    Raises:
        StoreError: the store does not answer; what was mended before stays mended.
    """
    kernels = kernels_after(connections.registry("platform"), after, limit=limit)
    rate = bytes_per_s or connections.config.scrub_bytes_per_s
    damaged: list[Damage] = []
    started, read_bytes = time.monotonic(), 0
    for kernel in kernels:
        time.sleep(plan_pause(read_bytes, time.monotonic() - started, bytes_per_s=rate))
        copies = find_copies(connections, kernel)
        read_bytes += sum(copy.read_bytes for copy in copies)
        damaged += _scrub(connections, kernel, copies)
    next_cursor = kernels[-1].digest if len(kernels) == limit else None
    return ScrubReport(len(kernels), tuple(damaged), next_cursor, read_bytes)


def plan_pause(read_bytes: int, elapsed_s: float, *, bytes_per_s: int) -> float:
    """Return how long to read nothing, so that no more than the rate was read since the beginning."""
    return max(0.0, read_bytes / bytes_per_s - elapsed_s)


def _scrub(connections: Connections, kernel: KernelRecord, copies: list[KernelCopy]) -> list[Damage]:
    if any(isinstance(copy.held, Reason) for copy in copies):
        # What was being exchanged a moment ago is whole by now.
        copies = find_copies(connections, kernel)
    whole = [copy.held for copy in copies if isinstance(copy.held, KernelBundle)]
    bad = [(copy, copy.held) for copy in copies if isinstance(copy.held, Reason)]
    if not whole:
        return [_give_up(connections, kernel, copy, reason) for copy, reason in bad]
    found = [_mend(connections, kernel, copy, reason, whole[0]) for copy, reason in bad]
    rejected = judge_signatures(connections, kernel, whole[0])
    if rejected is not None:
        # Keys are revoked and trust files exchanged by people: bytes that nobody vouches for are theirs to decide.
        found.append(_tell(connections, Damage("store", kernel.digest, rejected.reason, "reported")))
    return found


def _mend(
    connections: Connections, kernel: KernelRecord, copy: KernelCopy, reason: Reason, whole: KernelBundle
) -> Damage:
    action: Action = "reported"
    if _take_away(connections, kernel, copy, reason):
        action = "repaired" if _put_back(connections, kernel, copy.tier, whole) else "dropped"
    return _tell(connections, Damage(copy.tier, kernel.digest, reason, action))


def _put_back(connections: Connections, kernel: KernelRecord, tier: TierName, whole: KernelBundle) -> bool:
    if tier == "store":
        store_bundle(connections, kernel.digest, whole)
        return True
    if tier == "disk":
        return _keep_on_disk(connections, whole)
    data = encode_bundle(whole)
    return bool(connections.ask_redis("redis_bundle", lambda redis: redis.put_bundle(kernel.digest, data)))


def _give_up(connections: Connections, kernel: KernelRecord, copy: KernelCopy, reason: Reason) -> Damage:
    """No copy is whole: take them all away and the kernel out of service, so that it is compiled anew."""
    if copy.tier == "store" and _lies_elsewhere(connections, kernel):
        return _tell(connections, Damage(copy.tier, kernel.digest, reason, "reported"))
    _take_away(connections, kernel, copy, reason)
    if copy.tier == "store":
        try:
            quarantine_kernel(connections, kernel.digest, "its bytes are lost")
        except IllegalTransitionError:
            # Rejected or revoked: nobody loads it, and its report and attestations are kept.
            connections.counts["scrub_out_of_service"] += 1
    return _tell(connections, Damage(copy.tier, kernel.digest, reason, "rebuild_wanted"))


def _lies_elsewhere(connections: Connections, kernel: KernelRecord) -> bool:
    """Return whether the kernel is in the cold place, and nobody named that place to this process."""
    return connections.cold_store is None and find_place(connections.registry("platform"), kernel.digest) == "cold"


def _take_away(connections: Connections, kernel: KernelRecord, copy: KernelCopy, reason: Reason) -> bool:
    """Make sure that nobody is given a damaged copy again, and keep it for a look; return whether that was done."""
    if copy.tier == "disk":
        try:
            connections.disk.quarantine(kernel.digest, reason)
        except OSError:
            connections.counts["disk_quarantine"] += 1
            return False
        return True
    if copy.data:
        # Under its own content it is never found as a kernel.
        aside = blob_key(connections.tenant, BlobDigest(sha256_hex(copy.data)))
        connections.store.put_if_absent(aside, copy.data)
    if copy.tier == "store":
        (copy.place or connections.store).delete(kernel.bundle_key)
        return True
    return connections.best_effort("redis_bundle", lambda redis: redis.drop_bundle(kernel.digest))


def _keep_on_disk(connections: Connections, whole: KernelBundle) -> bool:
    try:
        connections.disk.put(parse_manifest(whole.manifest), whole)
    except OSError:
        # Loaders fetch it from the next tier.
        connections.counts["disk_put"] += 1
        return False
    return True


def _tell(connections: Connections, damage: Damage) -> Damage:
    event: ArtifactEvent = "artifact.repaired" if damage.action == "repaired" else "artifact.damaged"
    registry = connections.registry("platform")
    tell_artifact(registry, damage.digest, event, tier=damage.tier, reason=damage.reason, action=damage.action)
    return damage
