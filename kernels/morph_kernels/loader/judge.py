"""What a loader makes of bytes that claim to be a kernel: it may run, or why not and whether other bytes could."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.index import Variant
from morph_kernels.artifact.manifest import KernelManifest
from morph_kernels.artifact.target import Runtime
from morph_kernels.artifact.trust import TrustPolicy
from morph_kernels.artifact.verify import Rejected, judge_content, verify_kernel
from morph_kernels.reasons import Reason

# A tier had no answer. Another may have one.
_NO_ANSWER = frozenset(
    {Reason.NOT_FOUND, Reason.DEADLINE, Reason.UNAVAILABLE, Reason.BREAKER_OPEN, Reason.DISK_UNUSABLE}
)


@dataclass(frozen=True)
class Refused:
    """Why a tier gives no kernel; `damaged` where its bytes are not those that the digest names."""

    reason: Reason
    damaged: bool = False

    @property
    def is_mendable(self) -> bool:
        """Whether another tier may do better. The right bytes are refused alike wherever they lie."""
        return self.damaged or self.reason in _NO_ANSWER


class Judge:
    """The one place that decides, for a tenant on this host, whether a kernel may run."""

    def __init__(self, *, tenant: str, trust: Callable[[], TrustPolicy], runtime: Runtime) -> None:
        self._tenant, self._trust, self._runtime = tenant, trust, runtime

    def judge(self, variant: Variant, bundle: KernelBundle) -> KernelManifest | Refused:
        """Return the manifest of a kernel that may run as this variant of its blueprint."""
        verdict = verify_kernel(
            bundle,
            variant.attestations,
            trust=self._trust(),
            runtime=self._runtime,
            tenant=self._tenant,
            expected_digest=variant.kernel_digest,
            now=datetime.now(UTC),
        )
        if isinstance(verdict, Rejected):
            return Refused(verdict.reason, damaged=_is_damaged(bundle, variant))
        if verdict.manifest.blueprint_digest != variant.blueprint_digest:
            # Well made, and for another blueprint: the publisher alone cannot make it stand for this one.
            return Refused(Reason.ATTESTATION_MISMATCH)
        return verdict.manifest


def _is_damaged(bundle: KernelBundle, variant: Variant) -> bool:
    content = judge_content(bundle, variant.kernel_digest)
    return isinstance(content, Rejected) and content.reason in {Reason.DIGEST_MISMATCH, Reason.TOO_LARGE}
