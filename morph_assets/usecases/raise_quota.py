"""Sets a limit of the tenant as the operator, who alone may raise one."""

from morph_assets.connections import Connections
from morph_assets.registry import tenants
from morph_assets.usecases.acknowledge import acknowledged


@acknowledged
def raise_quota(connections: Connections, operator_url: str, resource: str, hard_limit: int, *, reason: str) -> int:
    """Set the limit of a resource and return the one before.

    Args:
        connections: of the tenant.
        operator_url: of a login that may become the schema's owner.
        resource: as `list_quotas` names it.
        hard_limit: of the resource from now on.
        reason: why; told in the tenant's log.

    Raises:
        AccessRefusedError: the login is not the operator's.
        GuardError: more than that is used already.
        InvalidRecordError: there is no such resource.
    """
    return tenants.set_quota(operator_url, connections.tenant, resource, hard_limit, reason=reason)
