"""Reads stored kernels back, tier by tier, and mends what is damaged from a copy that is whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from morph_assets.connections import Connections
from morph_assets.registry.artifacts import ArtifactEvent, tell_artifact
from morph_assets.registry.errors import IllegalTransitionError
from morph_assets.registry.kernels import KernelRecord, kernels_after
from morph_assets.usecases.acknowledge import acknowledged
from morph_assets.usecases.fetch_bundle import ArtifactDamagedError, open_bundle, require_content
from morph_assets.usecases.measure_caches import TierName
from morph_assets.usecases.quarantine_kernel import quarantine_kernel
from morph_assets.usecases.store_bundle import store_bundle
from morph_assets.usecases.verify_kernel import judge_signatures
from morph_kernels.artifact.bundle import MAX_BUNDLE_BYTES, KernelBundle, encode_bundle
from morph_kernels.artifact.manifest import parse_manifest
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import BlobDigest, KernelDigest
from morph_kernels.reasons import Reason
from morph_kernels.store import ObjectNotFoundError, ObjectTooLargeError
from morph_kernels.store.keys import blob_key

Action = Literal["repaired", "rebuild_wanted", "reported"]


@dataclass(frozen=True)
class Damage:
    """One bad copy and what was done: repaired, rebuild_wanted (no good copy is left) or reported (signatures)."""

    tier: TierName
    digest: KernelDigest
    reason: Reason
    action: Action


@dataclass(frozen=True)
class ScrubReport:
    """How many kernels were read, what was damaged, and where to go on; None says that the round is complete."""

    checked: int
    damaged: tuple[Damage, ...]
    next_cursor: KernelDigest | None


@dataclass(frozen=True)
class _Copy:
    """What a tier holds of a kernel: a bundle that is this kernel, or why it is not."""

    tier: TierName
    held: KernelBundle | Reason


@acknowledged
def scrub_artifacts(connections: Connections, *, after: KernelDigest | None = None, limit: int = 50) -> ScrubReport:
    """Check the next kernels in store, Redis and this host's disk: bytes against digests, then who vouches for them.

    Raises:
        StoreError: the store does not answer; what was mended before stays mended.
    """
    kernels = kernels_after(connections.registry("platform"), after, limit=limit)
    damaged = [damage for kernel in kernels for damage in _scrub(connections, kernel)]
    return ScrubReport(len(kernels), tuple(damaged), kernels[-1].digest if len(kernels) == limit else None)


def _scrub(connections: Connections, kernel: KernelRecord) -> list[Damage]:
    copies = list(_read_copies(connections, kernel))
    good = next((copy.held for copy in copies if isinstance(copy.held, KernelBundle)), None)
    bad = [(copy.tier, copy.held) for copy in copies if isinstance(copy.held, Reason)]
    if good is None:
        return [_give_up(connections, kernel, tier, reason) for tier, reason in bad]
    found = [_mend(connections, kernel, tier, reason, good) for tier, reason in bad]
    rejected = judge_signatures(connections, kernel, good)
    if rejected is not None:
        # Keys are revoked and trust files exchanged by people: bytes that nobody vouches for are theirs to decide.
        found.append(_tell(connections, Damage("store", kernel.digest, rejected.reason, "reported")))
    return found


def _read_copies(connections: Connections, kernel: KernelRecord) -> Iterator[_Copy]:
    """Yield what each tier holds; a cache that holds nothing is fine, a store that does is not."""
    try:
        yield _Copy("store", _open(connections.store.get(kernel.bundle_key, max_bytes=MAX_BUNDLE_BYTES), kernel.digest))
    except ObjectNotFoundError:
        yield _Copy("store", Reason.NOT_FOUND)
    except ObjectTooLargeError:
        yield _Copy("store", Reason.TOO_LARGE)
    cached: list[bytes | None] = []
    connections.best_effort(
        "redis_scrub", lambda redis: cached.append(redis.find_bundle(kernel.digest, max_bytes=MAX_BUNDLE_BYTES))
    )
    if cached and cached[0] is not None:
        yield _Copy("redis", _open(cached[0], kernel.digest))
    try:
        entry = connections.disk.find(kernel.digest)
    except OSError:
        yield _Copy("disk", Reason.UNAVAILABLE)
        return
    if entry is not None:
        yield _Copy("disk", _content(entry.bundle, kernel.digest))


def _open(data: bytes, digest: KernelDigest) -> KernelBundle | Reason:
    try:
        return open_bundle(data, digest)
    except ArtifactDamagedError as error:
        return error.reason


def _content(bundle: KernelBundle, digest: KernelDigest) -> KernelBundle | Reason:
    try:
        return require_content(bundle, digest)
    except ArtifactDamagedError as error:
        return error.reason


def _mend(connections: Connections, kernel: KernelRecord, tier: TierName, reason: Reason, good: KernelBundle) -> Damage:
    digest = kernel.digest
    if tier == "store":
        _keep_for_a_look(connections, kernel)
        store_bundle(connections, digest, good)
    elif tier == "redis":
        connections.best_effort("redis_bundle", lambda redis: redis.put_bundle(digest, encode_bundle(good)))
    else:
        connections.disk.quarantine(digest, reason)
        connections.disk.put(parse_manifest(good.manifest), good)
    return _tell(connections, Damage(tier, digest, reason, "repaired"))


def _give_up(connections: Connections, kernel: KernelRecord, tier: TierName, reason: Reason) -> Damage:
    """No copy is whole: take them all away and the kernel out of service, so that it is compiled anew."""
    digest = kernel.digest
    if tier == "store":
        _keep_for_a_look(connections, kernel)
        try:
            quarantine_kernel(connections, digest, "its bytes are lost")
        except IllegalTransitionError:
            # Rejected or revoked: nobody loads it, and its report and attestations are kept.
            connections.counts["scrub_out_of_service"] += 1
    elif tier == "redis":
        connections.best_effort("redis_bundle", lambda redis: redis.drop_bundle(digest))
    else:
        connections.disk.quarantine(digest, reason)
    return _tell(connections, Damage(tier, digest, reason, "rebuild_wanted"))


def _keep_for_a_look(connections: Connections, kernel: KernelRecord) -> None:
    """Move the store's damaged object aside, under its own content; it is never found as a kernel again."""
    try:
        data = connections.store.get(kernel.bundle_key, max_bytes=MAX_BUNDLE_BYTES)
    except (ObjectNotFoundError, ObjectTooLargeError):
        data = b""
    if data:
        connections.store.put_if_absent(blob_key(connections.tenant, BlobDigest(sha256_hex(data))), data)
    connections.store.delete(kernel.bundle_key)


def _tell(connections: Connections, damage: Damage) -> Damage:
    event: ArtifactEvent = "artifact.repaired" if damage.action == "repaired" else "artifact.damaged"
    registry = connections.registry("platform")
    tell_artifact(registry, damage.digest, event, tier=damage.tier, reason=damage.reason, action=damage.action)
    return damage
