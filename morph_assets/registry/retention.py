"""Retention: the policies of a tenant, and what they judge each kernel by."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from psycopg.types.json import Jsonb

from morph_assets.registry.connection import Registry
from morph_assets.registry.removal import DEFAULT_GRACE_S
from morph_kernels.identity import BlueprintDigest, KernelDigest

PolicyKind = Literal["unused", "slower", "superseded", "outdated_toolchain"]
_PAGE = 500


@dataclass(frozen=True)
class PolicyRecord:
    """A rule by which kernels go, with the parameter of its kind.

    `unused` {"days"}: nobody used it for so long. `slower` {"percent"}: another kernel of the blueprint and target is
    that much faster. `superseded` {"keep"}: so many newer releases are there under each of its names.
    `outdated_toolchain` {"torch"}: it was built with an older torch than this.
    """

    name: str
    kind: PolicyKind
    parameters: Mapping[str, Any]
    grace_s: int
    enabled: bool
    row_version: int


@dataclass(frozen=True)
class KernelUse:
    """A kernel that could go, and what speaks for keeping it.

    It was used last when it was built, published, saved with a checkpoint or served. `newer_releases` is None where
    none of its releases is in use; `stays_because` is the registry's own objection, which no policy overrules.
    """

    digest: KernelDigest
    blueprint_digest: BlueprintDigest
    names: list[str]
    state: str
    device: str
    isa: str
    dtype: str
    torch: str
    speed_ratio: float | None
    bundle_bytes: int
    created_at: datetime
    last_used_at: datetime
    newer_releases: int | None
    aliases: list[str]
    stays_because: str | None


def set_policy(
    registry: Registry,
    name: str,
    kind: PolicyKind,
    parameters: Mapping[str, Any],
    *,
    grace_s: int = DEFAULT_GRACE_S,
    enabled: bool = True,
    expected_row_version: int | None = None,
) -> int:
    """Make or change a policy, if it is still as last seen; return its row version. As curator or admin.

    Raises:
        InvalidRecordError: the kind has other parameters.
        StaleVersionError: somebody else changed it, or it is there already.
    """
    (row_version,) = registry.call(
        "SELECT morph.set_policy(%s, %s, %s, %s, %s, %s)",
        (name, kind, Jsonb(dict(parameters)), grace_s, enabled, expected_row_version),
    )
    return int(row_version)


def list_policies(registry: Registry) -> list[PolicyRecord]:
    """Return the policies, the disabled ones too, by name."""
    return registry.fetch(
        PolicyRecord,
        "SELECT name, kind, parameters, grace_s, enabled, row_version FROM morph.retention_policy ORDER BY name",
    )


def find_policy(registry: Registry, name: str) -> PolicyRecord | None:
    """Return the policy of the name."""
    return next((policy for policy in list_policies(registry) if policy.name == name), None)


def iter_kernel_uses(registry: Registry) -> Iterator[KernelUse]:
    """Yield every kernel that could be retired, in the order of digests."""
    after = ""
    while page := registry.fetch(KernelUse, "SELECT * FROM morph.kernel_uses(%s, %s)", (after, _PAGE)):
        yield from page
        after = page[-1].digest
