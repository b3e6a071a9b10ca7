"""Builds: one row for each compiler run that happened, and the kernel that came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from morph_assets.registry.connection import Registry
from morph_assets.registry.kernels import KernelRecord, get_kernel
from morph_kernels.identity import BlobDigest, BlueprintDigest, BuildKey, KernelDigest, ObjectKey

MAX_LOG_LENGTH = 65536


@dataclass(frozen=True)
class BuildCost:
    """What a compiler run took, where it ran, and the end of what it said."""

    cpu_s: float
    wall_s: float
    isolation: str
    log_tail: str = ""


@dataclass(frozen=True)
class CompiledKernel:
    """A finished build. The build id is the client's own: recording it twice is recording it once.

    A speculative kernel waits for a curator before it is published; what the aggressive pipeline makes always is one.
    """

    digest: KernelDigest
    blueprint_digest: BlueprintDigest
    build_key: BuildKey
    target: Mapping[str, Any]
    toolchain: str
    pipeline: str
    recipe_version: int
    size_bytes: int
    bundle_digest: BlobDigest
    bundle_key: ObjectKey
    bundle_bytes: int
    provenance: bytes
    cost: BuildCost
    speculative: bool = False
    build_id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True)
class BuildRecord:
    """One compiler run; outcome is built, redundant (another was first with this build key) or failed."""

    build_id: UUID
    build_key: BuildKey
    blueprint_digest: BlueprintDigest
    kernel_digest: KernelDigest | None
    outcome: str
    reason: str
    cpu_s: float
    wall_s: float
    isolation: str
    log_tail: str
    builder: str
    recorded_at: datetime


def record_build(registry: Registry, compiled: CompiledKernel) -> KernelRecord:
    """Record the build and return the kernel of its build key: this one, or the one that was there first. As compiler.

    Raises:
        NotRegisteredError: its blueprint is not registered.
        InvalidRecordError: a digest is of the wrong form.
        IllegalTransitionError: this very kernel was retired, or was built for another build key.
        QuotaExceededError: the tenant has as many kernels or bytes as it may.
    """
    digest, _ = registry.call(
        """SELECT kernel_digest, was_created FROM morph.record_build(
               %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            compiled.build_id,
            compiled.digest,
            compiled.blueprint_digest,
            compiled.build_key,
            Jsonb(dict(compiled.target)),
            compiled.toolchain,
            compiled.pipeline,
            compiled.recipe_version,
            compiled.size_bytes,
            compiled.bundle_digest,
            compiled.bundle_key,
            compiled.bundle_bytes,
            compiled.provenance,
            compiled.cost.cpu_s,
            compiled.cost.wall_s,
            compiled.cost.isolation,
            compiled.cost.log_tail[-MAX_LOG_LENGTH:],
            compiled.speculative,
        ),
    )
    return get_kernel(registry, digest)


def record_failed_build(
    registry: Registry,
    blueprint_digest: BlueprintDigest,
    build_key: BuildKey,
    *,
    reason: str,
    cost: BuildCost,
    build_id: UUID | None = None,
) -> None:
    """Record a compiler run that gave no kernel. As compiler."""
    registry.call(
        "SELECT morph.record_failed_build(%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            build_id or uuid4(),
            blueprint_digest,
            build_key,
            reason,
            cost.cpu_s,
            cost.wall_s,
            cost.isolation,
            cost.log_tail[-MAX_LOG_LENGTH:],
        ),
    )


def list_builds(registry: Registry, *, build_key: BuildKey | None = None, limit: int = 1000) -> list[BuildRecord]:
    """Return the compiler runs, newest first."""
    return registry.fetch(
        BuildRecord,
        """SELECT build_id, build_key, blueprint_digest, kernel_digest, outcome, reason, cpu_s, wall_s, isolation,
                  log_tail, builder, recorded_at
           FROM morph.build WHERE %s::text IS NULL OR build_key = %s ORDER BY recorded_at DESC, build_id LIMIT %s""",
        (build_key, build_key, limit),
    )


def count_builds(registry: Registry) -> dict[str, int]:
    """Return how many compiler runs had each outcome: built, redundant, failed."""
    counts = {"built": 0, "redundant": 0, "failed": 0}
    with registry.transaction() as connection:
        counts |= dict(connection.execute("SELECT outcome, count(*) FROM morph.build GROUP BY outcome").fetchall())
    return counts


def build_costs(registry: Registry) -> dict[KernelDigest, float]:
    """Return the processor seconds that each kernel took to build."""
    with registry.transaction() as connection:
        rows = connection.execute(
            "SELECT kernel_digest::text, max(cpu_s) FROM morph.build WHERE outcome = 'built' GROUP BY kernel_digest"
        ).fetchall()
    return {KernelDigest(digest): float(seconds) for digest, seconds in rows}


def sum_build_cpu_s(registry: Registry) -> float:
    """Return the processor seconds that all compiler runs took together."""
    (seconds,) = registry.call("SELECT coalesce(sum(cpu_s), 0) FROM morph.build")
    return float(seconds)
