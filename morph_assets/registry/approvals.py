"""A curator's word on kernels that nobody here has tried under ordinary conditions."""

from dataclasses import dataclass

from morph_assets.registry.connection import Registry
from morph_kernels.identity import KernelDigest


@dataclass(frozen=True)
class ApprovalRecord:
    """One decision on one evaluation of a kernel, told by the event `seq`; the newest counts."""

    kernel_digest: KernelDigest
    seq: int
    evaluation: int
    approved: bool
    reason: str
    decided_by: str


def approve_kernel(registry: Registry, kernel: KernelDigest, *, reason: str) -> None:
    """Let a speculative kernel, validated as it is now, be published. As curator.

    Raises:
        IllegalTransitionError: it is not VALIDATED.
    """
    registry.call("SELECT morph.decide_kernel(%s, true, %s)", (kernel, reason))


def decline_kernel(registry: Registry, kernel: KernelDigest, *, reason: str) -> None:
    """Keep a speculative kernel from being published, until it is evaluated anew or approved. As curator.

    Raises:
        IllegalTransitionError: it is not VALIDATED.
    """
    registry.call("SELECT morph.decide_kernel(%s, false, %s)", (kernel, reason))


def list_approvals(registry: Registry, kernel: KernelDigest) -> list[ApprovalRecord]:
    """Return the decisions on the kernel, oldest first."""
    return registry.fetch(
        ApprovalRecord,
        """SELECT kernel_digest, seq, evaluation, approved, reason, decided_by FROM morph.approval
           WHERE kernel_digest = %s ORDER BY seq""",
        (kernel,),
    )
