"""Quotas: how much a tenant may use, and how much it does; the rows themselves are charged, by the database."""

from dataclasses import dataclass

from morph_assets.registry.connection import Registry

BUILDS_PER_DAY = "builds_per_day"


@dataclass(frozen=True)
class QuotaRecord:
    """The hard limit of one resource, and what is used of it; builds are those of the present day (UTC)."""

    resource: str
    hard_limit: int
    used: int


def list_quotas(registry: Registry) -> list[QuotaRecord]:
    """Return the tenant's quotas, by resource."""
    return registry.fetch(
        QuotaRecord,
        """SELECT resource, hard_limit,
                  CASE WHEN day < (clock_timestamp() AT TIME ZONE 'UTC')::date THEN 0 ELSE used END AS used
           FROM morph.quota ORDER BY resource""",
    )


def require_quota(registry: Registry, resource: str, amount: int = 1) -> None:
    """Refuse an amount that would pass the limit before anything is spent on it; it is charged when it is recorded.

    Raises:
        QuotaExceededError: it would pass the limit.
    """
    registry.call("SELECT morph.require_quota(%s, %s)", (resource, amount))


def lower_quota(registry: Registry, resource: str, hard_limit: int, *, reason: str) -> int:
    """Lower a limit of the tenant's own and return the one before. As admin.

    Raises:
        AccessRefusedError: it would be raised, which only the operator may.
        GuardError: more than that is used already.
        InvalidRecordError: there is no such resource.
    """
    (before,) = registry.call("SELECT morph.lower_quota(%s, %s, %s)", (resource, hard_limit, reason))
    return int(before)
