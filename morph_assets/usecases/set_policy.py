"""Makes or changes a rule by which kernels go."""

from collections.abc import Mapping
from typing import Any

from morph_assets.connections import Connections
from morph_assets.registry import retention
from morph_assets.registry.removal import DEFAULT_GRACE_S
from morph_assets.registry.retention import PolicyKind, PolicyRecord, find_policy
from morph_assets.usecases.acknowledge import acknowledged
from morph_kernels.identity import parse_name


@acknowledged
def set_policy(
    connections: Connections,
    name: str,
    kind: PolicyKind,
    parameters: Mapping[str, Any],
    *,
    grace_s: int = DEFAULT_GRACE_S,
    enabled: bool = True,
) -> PolicyRecord:
    """Keep the policy as given, in place of the one of that name.

    Raises:
        InvalidNameError: the name is none.
        InvalidRecordError: the kind has other parameters.
        StaleVersionError: somebody else changed it at this moment; look again.
    """
    parse_name(name, what="policy")
    registry = connections.registry("curator")
    seen = find_policy(registry, name)
    version = retention.set_policy(
        registry,
        name,
        kind,
        parameters,
        grace_s=grace_s,
        enabled=enabled,
        expected_row_version=None if seen is None else seen.row_version,
    )
    return PolicyRecord(name, kind, parameters, grace_s, enabled, version)
