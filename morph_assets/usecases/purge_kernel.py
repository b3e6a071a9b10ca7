"""Removes a retired kernel for good and leaves a proof of it; a run that dies anywhere is gone on with by the next."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from morph_assets.connections import Connections
from morph_assets.registry.audit.deletion import (
    MAX_PROOF_BYTES,
    DeletedObject,
    DeletionProof,
    verify_deletion,
)
from morph_assets.registry.errors import NotRegisteredError
from morph_assets.registry.held_lease import hold_lease
from morph_assets.registry.kernels import KernelRecord, get_kernel
from morph_assets.registry.removal import (
    DoomedObject,
    TombstoneRecord,
    begin_purge,
    find_tombstone,
    finish_purge,
    list_doomed,
)
from morph_assets.usecases.acknowledge import acknowledged
from morph_assets.usecases.archive_log import archive_log
from morph_kernels.artifact.roles import Role
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.canonical import sha256_hex
from morph_kernels.errors import MorphError
from morph_kernels.identity import BlobDigest, KernelDigest, ObjectKey
from morph_kernels.store.keys import deletion_proof_key, report_key

_LEASE_S = 15.0


@dataclass(frozen=True)
class PurgedKernel:
    """A kernel that is gone, how much of the store it gave back, and where the proof lies."""

    digest: KernelDigest
    freed_bytes: int
    proof_key: ObjectKey
    proof_digest: BlobDigest


class KernelInWorkError(MorphError):
    """Somebody builds the kernel, or removes it, at this moment."""

    retryable: ClassVar[bool] = True

    def __init__(self, digest: KernelDigest) -> None:
        super().__init__(f"kernel {digest[:12]} is being built or removed by another process; try again")


@acknowledged
def purge_kernel(connections: Connections, digest: KernelDigest, *, lease_s: float = _LEASE_S) -> PurgedKernel:
    """Delete the kernel's objects and rows; again, it returns the same proof.

    The rows say what goes before the first object does, and the proof lies in the store before the last row goes.
    The bodies that the log names (its provenance, reports) stay with the archived log, as evidence.

    A holder that dies bars the next one for `lease_s`.

    Raises:
        GuardError: its grace is not over, or something needs it.
        NotRegisteredError: there is no such kernel, or nobody retired it.
        KernelInWorkError: another process is at it.
        StoreError: the store does not answer; the next call goes on.
        SignerError: the auditor's signer failed; the next call goes on.
    """
    registry = connections.registry("curator")
    kernel = get_kernel(registry, digest)
    # The rows hold these bodies no longer afterwards.
    archive_log(connections)
    with hold_lease(connections.registry("platform"), f"build/{kernel.build_key}", ttl_s=lease_s) as lease:
        if lease is None:
            raise KernelInWorkError(digest)
        if kernel.state != "PURGED":
            _purge(connections, kernel)
    stone = find_tombstone(registry, digest)
    if stone is None or stone.proof_key is None or stone.proof_digest is None:
        raise NotRegisteredError(f"kernel {digest} has no tombstone that says it is gone")
    return PurgedKernel(digest, _freed(connections, stone), stone.proof_key, stone.proof_digest)


def _purge(connections: Connections, kernel: KernelRecord) -> None:
    registry = connections.registry("curator")
    seq = begin_purge(registry, kernel.digest)
    deleted = tuple(_delete(connections, kernel, doomed) for doomed in list_doomed(registry, kernel.digest))
    connections.best_effort("redis_purge", lambda redis: redis.drop_bundle(kernel.digest))
    stone = find_tombstone(registry, kernel.digest)
    if stone is None:
        raise NotRegisteredError(f"kernel {kernel.digest} has no tombstone")
    key, envelope = _prove(connections, kernel, stone, seq, deleted)
    finish_purge(registry, kernel.digest, proof_digest=BlobDigest(sha256_hex(envelope)), proof_key=key)


def _delete(connections: Connections, kernel: KernelRecord, doomed: DoomedObject) -> DeletedObject:
    is_bundle = doomed.kind == "bundle"
    key = kernel.bundle_key if is_bundle else report_key(connections.tenant, doomed.digest)
    connections.store.delete(key)
    return DeletedObject(doomed.kind, key, doomed.digest, doomed.size_bytes)


def _prove(
    connections: Connections,
    kernel: KernelRecord,
    stone: TombstoneRecord,
    seq: int,
    deleted: tuple[DeletedObject, ...],
) -> tuple[ObjectKey, bytes]:
    """Return the proof and its place: the one that an earlier attempt left, if it is genuine, else a new one."""
    store, key = connections.store, deletion_proof_key(connections.tenant, kernel.digest, seq)
    proof = DeletionProof(
        tenant=connections.tenant,
        kernel_digest=kernel.digest,
        blueprint_digest=kernel.blueprint_digest,
        reason=stone.reason,
        policy=stone.policy,
        purge_seq=seq,
        objects=deleted,
        deleted_at=datetime.now(UTC),
    )
    envelope = connections.signer(Role.AUDITOR).sign(proof.to_document())
    if store.put_if_absent(key, envelope):
        return key, envelope
    present = store.get(key, max_bytes=MAX_PROOF_BYTES)
    judged = verify_deletion(
        present, tenant=connections.tenant, kernel=kernel.digest, trust=connections.trust(), now=datetime.now(UTC)
    )
    if not isinstance(judged, Rejected) and judged.objects == deleted:
        return key, present
    store.delete(key)
    store.put_if_absent(key, envelope)
    return key, store.get(key, max_bytes=MAX_PROOF_BYTES)


def _freed(connections: Connections, stone: TombstoneRecord) -> int:
    """Return what the proof says was deleted."""
    envelope = connections.store.get(stone.proof_key, max_bytes=MAX_PROOF_BYTES) if stone.proof_key else b""
    judged = verify_deletion(
        envelope,
        tenant=connections.tenant,
        kernel=stone.kernel_digest,
        trust=connections.trust(),
        now=datetime.now(UTC),
    )
    return 0 if isinstance(judged, Rejected) else sum(deleted.size_bytes for deleted in judged.objects)
