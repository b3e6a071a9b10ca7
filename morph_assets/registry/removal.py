"""How a kernel goes: retired into a tombstone from which it can come back, then purged, with a proof of it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, LiteralString

from morph_assets.registry.connection import Registry
from morph_kernels.identity import BlobDigest, KernelDigest, ObjectKey

DEFAULT_GRACE_S = 7 * 24 * 3600

ObjectKind = Literal["bundle", "report"]


@dataclass(frozen=True)
class TombstoneRecord:
    """A retired kernel. From `purge_seq` on it cannot come back; `purged_seq` says that it is gone, with its proof."""

    kernel_digest: KernelDigest
    restores_to: str
    reason: str
    policy: str
    grace_until: datetime
    purge_seq: int | None
    purged_seq: int | None
    proof_digest: BlobDigest | None
    proof_key: ObjectKey | None
    bundle_key: ObjectKey
    bundle_bytes: int
    is_due: bool


@dataclass(frozen=True)
class DoomedObject:
    """An object that goes with its kernel: its bundle, or a report about it."""

    kind: ObjectKind
    digest: BlobDigest
    size_bytes: int


_TOMBSTONES: LiteralString = """
    SELECT t.kernel_digest, t.restores_to, t.reason, t.policy, t.grace_until, t.purge_seq, t.purged_seq, t.proof_digest,
           t.proof_key, k.bundle_key, b.size_bytes AS bundle_bytes,
           t.purged_seq IS NULL AND (t.purge_seq IS NOT NULL OR t.grace_until <= clock_timestamp()) AS is_due
    FROM morph.tombstone t JOIN morph.kernel k ON k.tenant = t.tenant AND k.digest = t.kernel_digest
    JOIN morph.blob b ON b.tenant = k.tenant AND b.digest = k.bundle_digest
"""


def retire_kernel(
    registry: Registry, kernel: KernelDigest, *, reason: str, policy: str = "", grace_s: int = DEFAULT_GRACE_S
) -> None:
    """Take the kernel out of use; within the grace it can be restored. As curator or admin.

    Raises:
        GuardError: a checkpoint needs it, it is pinned, it is the last published one behind an alias on its device; or
            a policy wants it, and an alias serves it.
    """
    registry.call("SELECT morph.retire_kernel(%s, %s, %s, %s)", (kernel, reason, policy, grace_s))


def restore_kernel(registry: Registry, kernel: KernelDigest, *, reason: str) -> str:
    """Bring the kernel back to the state before its retirement and return it; what was published is VALIDATED again.

    Raises:
        NotRegisteredError: it has no tombstone, or is gone already.
        GuardError: its grace is over, its removal has begun, or another kernel was built in its place.
    """
    (state,) = registry.call("SELECT morph.restore_kernel(%s, %s)", (kernel, reason))
    return str(state)


def begin_purge(registry: Registry, kernel: KernelDigest) -> int:
    """Say that the kernel goes for good, and which objects with it; return the event's number, the same again.

    Raises:
        GuardError: its grace is not over, or something needs it again.
        NotRegisteredError: it has no tombstone.
    """
    (seq,) = registry.call("SELECT morph.begin_purge(%s)", (kernel,))
    return int(seq)


def finish_purge(registry: Registry, kernel: KernelDigest, *, proof_digest: BlobDigest, proof_key: ObjectKey) -> None:
    """Delete the kernel's rows and end its lineage, once its objects are gone; again, it changes nothing.

    Raises:
        GuardError: no purge was begun.
    """
    registry.call("SELECT morph.finish_purge(%s, %s, %s)", (kernel, proof_digest, proof_key))


def list_doomed(registry: Registry, kernel: KernelDigest) -> list[DoomedObject]:
    """Return the objects that a begun purge deletes."""
    return registry.fetch(
        DoomedObject,
        "SELECT kind, digest, size_bytes FROM morph.doomed_object WHERE kernel_digest = %s ORDER BY kind, digest",
        (kernel,),
    )


def find_tombstone(registry: Registry, kernel: KernelDigest) -> TombstoneRecord | None:
    """Return the kernel's tombstone."""
    return registry.fetch_one(TombstoneRecord, _TOMBSTONES + "WHERE t.kernel_digest = %s", (kernel,))


def list_tombstones(registry: Registry, *, purged: bool | None = None, limit: int = 100_000) -> list[TombstoneRecord]:
    """Return the tombstones, those due first: all, or only those of kernels that are gone, or are not yet."""
    return registry.fetch(
        TombstoneRecord,
        _TOMBSTONES
        + """WHERE %s::boolean IS NULL OR (t.purged_seq IS NOT NULL) = %s
             ORDER BY t.purge_seq, t.grace_until, t.kernel_digest LIMIT %s""",
        (purged, purged, limit),
    )
