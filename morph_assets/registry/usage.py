"""The usage ledger: what builds, storage and deliveries cost, written once and told in the log."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from morph_assets.registry.connection import Registry
from morph_kernels.identity import KernelDigest

UsageKind = Literal["build_cpu_s", "stored_byte_hours", "bytes_served"]
UsageGroup = Literal["tenant", "run", "blueprint", "kernel"]
MAX_REPORTED = 256
_BATCH = 1000


@dataclass(frozen=True)
class UsageSum:
    """How much of a kind was used for one tenant, run, blueprint or kernel; None for what belongs to none of these."""

    key: str | None
    kind: UsageKind
    quantity: float
    entries: int


def meter_storage(registry: Registry) -> int:
    """Enter what lay in the store up to the last full hour and return how many batches that took.

    The same hours are entered once; a meter that dies is gone on with by the next. As platform, curator or admin.
    """
    batches = 0
    while True:
        (done,) = registry.call("SELECT morph.meter_storage(%s)", (_BATCH,))
        batches += 1
        if done:
            return batches


def report_served(
    registry: Registry,
    served_bytes: Mapping[KernelDigest, int],
    *,
    began_at: datetime,
    ended_at: datetime,
    run: str | None = None,
    report_id: UUID | None = None,
) -> None:
    """Enter the bytes of kernels that were handed out, at most 256 kernels and a day; the same report is one report.

    As platform or publisher, or as a trainer for its run.

    Raises:
        NotRegisteredError: one of the kernels is not here.
        InvalidRecordError: too much at once, or there is no such run.
        AccessRefusedError: a trainer names no run.
    """
    registry.call(
        "SELECT morph.report_served(%s, %s, %s, %s, %s)",
        (report_id or uuid4(), run, Jsonb(dict(served_bytes)), began_at, ended_at),
    )


def sum_usage(registry: Registry, *, by: UsageGroup = "tenant", since: datetime | None = None) -> list[UsageSum]:
    """Return what was used since a moment (entries that ended later count whole), most first within each kind."""
    return registry.fetch(
        UsageSum,
        """SELECT CASE %s WHEN 'tenant' THEN u.tenant WHEN 'run' THEN u.run WHEN 'blueprint' THEN u.blueprint_digest
                        WHEN 'kernel' THEN u.kernel_digest END::text AS key,
                  u.kind, sum(u.quantity) AS quantity, count(*)::int AS entries
           FROM morph.usage_entry u
           WHERE %s::timestamptz IS NULL OR u.to_us > extract(epoch FROM %s::timestamptz) * 1000000
           GROUP BY 1, 2 ORDER BY u.kind, quantity DESC, key""",
        (by, since, since),
    )
