"""Lowers a limit of the tenant, as its admin."""

from morph_assets.connections import Connections
from morph_assets.registry import quotas
from morph_assets.usecases.acknowledge import acknowledged


@acknowledged
def set_quota(connections: Connections, resource: str, hard_limit: int, *, reason: str) -> int:
    """Lower the limit of a resource and return the one before.

    Raises:
        AccessRefusedError: it would be raised, which only the operator may.
        GuardError: more than that is used already.
        InvalidRecordError: there is no such resource.
    """
    return quotas.lower_quota(connections.registry("admin"), resource, hard_limit, reason=reason)
