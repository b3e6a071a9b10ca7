"""Kernels as the registry keeps them: what was built, what vouches for it, and the state it is in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString
from uuid import UUID

from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import NotRegisteredError
from morph_kernels.errors import MorphError
from morph_kernels.identity import BlobDigest, BlueprintDigest, BuildKey, KernelDigest, ObjectKey

FIT_STATES: Final = frozenset({"VALIDATED", "PUBLISHED"})


@dataclass(frozen=True)
class KernelRecord:
    """One kernel. Speed (eager time / compiled time), latency, memory and risk are the newest report's, else None."""

    digest: KernelDigest
    blueprint_digest: BlueprintDigest
    names: list[str]
    build_key: BuildKey
    target: Mapping[str, Any]
    device: str
    isa: str
    dtype: str
    torch: str
    toolchain: str
    pipeline: str
    recipe_version: int
    size_bytes: int
    bundle_digest: BlobDigest
    bundle_key: ObjectKey
    state: str
    state_reason: str
    row_version: int
    tags: list[str]
    speed_ratio: float | None
    latency_us: float | None
    memory_bytes: int | None
    risk: float | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class AttestationRecord:
    """A signed envelope that vouches for a kernel."""

    kind: str
    envelope: bytes
    envelope_digest: str
    report_id: UUID | None
    recorded_by: str
    recorded_at: datetime


def kernel_subject(digest: KernelDigest) -> str:
    """Return what names the kernel in events, edges and pins."""
    return f"kernel/{digest}"


_COLUMNS: LiteralString = """
    k.digest, k.blueprint_digest, k.build_key, k.target, k.device, k.isa, k.dtype, k.torch, k.toolchain, k.pipeline,
    k.recipe_version, k.size_bytes, k.bundle_digest, k.bundle_key, k.state, k.state_reason, k.row_version,
    k.tags, k.speed_ratio, k.latency_us, k.memory_bytes, k.risk, k.created_at, k.updated_at,
    ARRAY(SELECT DISTINCT r.name::text FROM morph.blueprint_release r
          WHERE r.tenant = k.tenant AND r.blueprint_digest = k.blueprint_digest ORDER BY 1) AS names
"""


class AmbiguousLookupError(MorphError):
    """A kernel is found by its digest or by its build key: exactly one of them."""


def find_kernel(
    registry: Registry, *, digest: KernelDigest | None = None, build_key: BuildKey | None = None
) -> KernelRecord | None:
    """Return the kernel with the digest, or the one built for the build key and not retired; None if there is none."""
    if (digest is None) == (build_key is None):
        raise AmbiguousLookupError("give the kernel's digest or its build key, one of them")
    if digest is not None:
        return registry.fetch_one(
            KernelRecord, "SELECT" + _COLUMNS + "FROM morph.kernel k WHERE k.digest = %s", (digest,)
        )
    return registry.fetch_one(
        KernelRecord,
        "SELECT" + _COLUMNS + "FROM morph.kernel k WHERE k.build_key = %s AND k.state NOT IN ('RETIRED', 'PURGED')",
        (build_key,),
    )


def get_kernel(registry: Registry, digest: KernelDigest) -> KernelRecord:
    """Return the kernel.

    Raises:
        NotRegisteredError: there is none.
    """
    found = find_kernel(registry, digest=digest)
    if found is None:
        raise NotRegisteredError(f"no kernel {digest}")
    return found


def list_kernels(
    registry: Registry,
    *,
    blueprint_digest: BlueprintDigest | None = None,
    states: Sequence[str] = (),
    limit: int = 10_000,
) -> list[KernelRecord]:
    """Return the kernels, of one blueprint and in these states if given: fastest against eager first, then oldest.

    Whoever looks for kernels by what they are and what they take asks `morph_assets.registry.search`.
    """
    query: LiteralString = "SELECT" + _COLUMNS + "FROM morph.kernel k WHERE true"
    if blueprint_digest is not None:
        query += " AND k.blueprint_digest = %(blueprint_digest)s"
    if states:
        query += " AND k.state = ANY (%(states)s)"
    query += " ORDER BY k.speed_ratio DESC NULLS LAST, k.created_at, k.digest LIMIT %(limit)s"
    parameters = {"blueprint_digest": blueprint_digest, "states": list(states), "limit": limit}
    return registry.fetch(KernelRecord, query, parameters)


def kernel_state(registry: Registry, digest: KernelDigest) -> str:
    """Return the state that a kernel is in: one row by its primary key.

    Raises:
        RegistryError: there is none.
    """
    (state,) = registry.call("SELECT state FROM morph.kernel WHERE digest = %s", (digest,))
    return str(state)


def kernels_after(registry: Registry, after: KernelDigest | None, *, limit: int) -> list[KernelRecord]:
    """Return the next kernels that are not retired, in the order of their digests: for whoever walks over all."""
    query: LiteralString = (
        "SELECT" + _COLUMNS + "FROM morph.kernel k WHERE k.digest > %s AND k.state NOT IN ('RETIRED', 'PURGED')"
    )
    return registry.fetch(KernelRecord, query + " ORDER BY k.digest LIMIT %s", (after or "", limit))


def list_attestations(registry: Registry, kernel: KernelDigest) -> list[AttestationRecord]:
    """Return the envelopes that vouch for the kernel, provenance first."""
    return registry.fetch(
        AttestationRecord,
        """SELECT kind, envelope, envelope_digest, report_id, recorded_by, recorded_at FROM morph.attestation
           WHERE kernel_digest = %s ORDER BY kind, recorded_at""",
        (kernel,),
    )


def count_kernels_by_state(registry: Registry) -> dict[str, int]:
    """Return how many kernels are in each state that has any."""
    with registry.transaction() as connection:
        return dict(connection.execute("SELECT state, count(*) FROM morph.kernel GROUP BY state").fetchall())


def publish_kernel(registry: Registry, kernel: KernelDigest) -> None:
    """Let training have the kernel; also publishes the releases of its blueprint. As publisher.

    Raises:
        IllegalTransitionError: it is not VALIDATED, as a REJECTED one never is again.
        GuardError: the evidence for it does not stand in the registry.
    """
    registry.call("SELECT morph.publish_kernel(%s)", (kernel,))


def quarantine_kernel(registry: Registry, kernel: KernelDigest, *, reason: str) -> None:
    """Take the kernel out of service until it is evaluated again."""
    registry.call("SELECT morph.quarantine_kernel(%s, %s)", (kernel, reason))


def revoke_kernel(registry: Registry, kernel: KernelDigest, *, reason: str) -> None:
    """Take the kernel out of service for good."""
    registry.call("SELECT morph.revoke_kernel(%s, %s)", (kernel, reason))
