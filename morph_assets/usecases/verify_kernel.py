"""Judges a stored kernel as a loader of this host would."""

from datetime import UTC, datetime

from morph_assets.connections import Connections
from morph_assets.registry.kernels import KernelRecord, kernel_subject, list_attestations
from morph_assets.usecases.fetch_bundle import ArtifactDamagedError, fetch_bundle
from morph_assets.usecases.find_kernel import find_kernel
from morph_assets.usecases.tell_refused_signature import tell_refused_signature
from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.target import current_runtime
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.artifact.verify import Verdict, verify_build
from morph_kernels.artifact.verify import verify_kernel as judge_kernel
from morph_kernels.reasons import Reason
from morph_kernels.store import ObjectNotFoundError

_EVALUATED = frozenset({"VALIDATED", "PUBLISHED"})
# Another host or another torch: as good there as it ever was.
_ELSEWHERE = frozenset({Reason.WRONG_DEVICE, Reason.WRONG_ISA, Reason.WRONG_LIBC, Reason.TORCH_NOT_VALIDATED})


def verify_kernel(connections: Connections, what: str) -> Verdict:
    """Return whether this host may run the store's copy of the kernel, and if not, the first reason.

    Args:
        connections: the platform's servers.
        what: a kernel's digest, or a ref whose newest kernel is meant.

    Raises:
        NotRegisteredError: there is no such kernel.
        StoreError: the store does not answer.
    """
    kernel = find_kernel(connections, what)
    try:
        bundle = fetch_bundle(connections, kernel)
    except ArtifactDamagedError as error:
        return Rejected(error.reason, str(error))
    except ObjectNotFoundError:
        return Rejected(Reason.NOT_FOUND, "the store has no such object")
    verdict = _judge(connections, kernel, bundle)
    if isinstance(verdict, Rejected):
        tell_refused_signature(connections, kernel_subject(kernel.digest), verdict, role="platform")
    return verdict


def judge_signatures(connections: Connections, kernel: KernelRecord, bundle: KernelBundle) -> Rejected | None:
    """Return why nobody vouches for the bundle, or None: a compiler always must, an evaluator where it passed."""
    rejected = _find_rejection(connections, kernel, bundle)
    if rejected is not None:
        tell_refused_signature(connections, kernel_subject(kernel.digest), rejected, role="platform")
    return rejected


def _find_rejection(connections: Connections, kernel: KernelRecord, bundle: KernelBundle) -> Rejected | None:
    if kernel.state in _EVALUATED:
        verdict = _judge(connections, kernel, bundle)
        return verdict if isinstance(verdict, Rejected) and verdict.reason not in _ELSEWHERE else None
    build = verify_build(
        bundle,
        _envelopes(connections, kernel),
        trust=connections.trust(),
        tenant=connections.tenant,
        expected_digest=kernel.digest,
        now=datetime.now(UTC),
    )
    return build if isinstance(build, Rejected) else None


def _judge(connections: Connections, kernel: KernelRecord, bundle: KernelBundle) -> Verdict:
    return judge_kernel(
        bundle,
        _envelopes(connections, kernel),
        trust=connections.trust(),
        runtime=current_runtime(),
        tenant=connections.tenant,
        expected_digest=kernel.digest,
        now=datetime.now(UTC),
    )


def _envelopes(connections: Connections, kernel: KernelRecord) -> list[bytes]:
    return [record.envelope for record in list_attestations(connections.registry("platform"), kernel.digest)]
