"""What stays, what goes, and what may be used."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from morph_assets.platform.connected import Connected
from morph_assets.registry.pins import PinRecord, list_pins
from morph_assets.registry.quotas import QuotaRecord, list_quotas
from morph_assets.registry.removal import DEFAULT_GRACE_S
from morph_assets.registry.retention import PolicyKind, PolicyRecord, list_policies
from morph_assets.registry.usage import UsageGroup, UsageSum
from morph_assets.usecases.approve_kernel import approve_kernel
from morph_assets.usecases.curate_kernels import CurationReport, curate_kernels
from morph_assets.usecases.decline_kernel import decline_kernel
from morph_assets.usecases.pin_asset import pin_asset
from morph_assets.usecases.purge_kernel import PurgedKernel, purge_kernel
from morph_assets.usecases.quarantine_kernel import quarantine_kernel
from morph_assets.usecases.restore_kernel import restore_kernel
from morph_assets.usecases.retire_kernel import retire_kernel
from morph_assets.usecases.revoke_kernel import revoke_kernel
from morph_assets.usecases.set_policy import set_policy
from morph_assets.usecases.set_quota import set_quota
from morph_assets.usecases.show_usage import show_usage
from morph_assets.usecases.unpin_asset import unpin_asset
from morph_kernels.identity import KernelDigest


class Curation(Connected):
    """What keeps kernels, takes them away and brings them back; policies, approvals, quotas, usage."""

    def pin(self, subject: str, *, reason: str, until: datetime | None = None) -> None:
        """Keep a kernel, a release or a checkpoint from being removed."""
        pin_asset(self.connections, subject, reason=reason, until=until)

    def unpin(self, subject: str, *, reason: str) -> bool:
        """Take a pin away."""
        return unpin_asset(self.connections, subject, reason=reason)

    def list_pins(self) -> list[PinRecord]:
        """Return what is pinned, why and until when."""
        return list_pins(self.connections.registry("platform"))

    def retire_kernel(self, digest: KernelDigest, *, reason: str, grace_s: int = DEFAULT_GRACE_S) -> None:
        """Take a kernel out of use; within the grace it can be restored."""
        retire_kernel(self.connections, digest, reason=reason, grace_s=grace_s)

    def restore_kernel(self, digest: KernelDigest, *, reason: str) -> str:
        """Bring a retired kernel back; return its state."""
        return restore_kernel(self.connections, digest, reason=reason)

    def purge_kernel(self, digest: KernelDigest) -> PurgedKernel:
        """Remove a retired kernel for good, and leave a proof of it."""
        return purge_kernel(self.connections, digest)

    def curate_kernels(self, *, dry_run: bool = False) -> CurationReport:
        """Retire what a policy takes, and remove what nobody brought back in time."""
        return curate_kernels(self.connections, dry_run=dry_run)

    def quarantine_kernel(self, digest: KernelDigest, reason: str) -> None:
        """Take a kernel out of service until it is evaluated again."""
        quarantine_kernel(self.connections, digest, reason)

    def revoke_kernel(self, digest: KernelDigest, reason: str) -> None:
        """Take a kernel out of service for good."""
        revoke_kernel(self.connections, digest, reason)

    def approve_kernel(self, digest: KernelDigest, *, reason: str) -> None:
        """Let a speculative kernel be published."""
        approve_kernel(self.connections, digest, reason=reason)

    def decline_kernel(self, digest: KernelDigest, *, reason: str) -> None:
        """Keep a speculative kernel from being published."""
        decline_kernel(self.connections, digest, reason=reason)

    def list_policies(self) -> list[PolicyRecord]:
        """Return the rules by which kernels go."""
        return list_policies(self.connections.registry("platform"))

    def set_policy(
        self,
        name: str,
        kind: PolicyKind,
        parameters: Mapping[str, Any],
        *,
        grace_s: int = DEFAULT_GRACE_S,
        enabled: bool = True,
    ) -> PolicyRecord:
        """Make or change a rule by which kernels go."""
        return set_policy(self.connections, name, kind, parameters, grace_s=grace_s, enabled=enabled)

    def list_quotas(self) -> list[QuotaRecord]:
        """Return what the tenant may use, and what it does."""
        return list_quotas(self.connections.registry("platform"))

    def set_quota(self, resource: str, hard_limit: int, *, reason: str) -> int:
        """Lower a limit as the tenant's admin; return the one before."""
        return set_quota(self.connections, resource, hard_limit, reason=reason)

    def show_usage(self, *, by: UsageGroup = "tenant", since: datetime | None = None) -> list[UsageSum]:
        """Return what was used, metered up to the last full hour."""
        return show_usage(self.connections, by=by, since=since)
