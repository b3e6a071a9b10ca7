"""Says whether anybody trusted vouches for a stored kernel."""

from morph_assets.connections import Connections
from morph_assets.usecases.fetch_bundle import ArtifactDamagedError, fetch_bundle
from morph_assets.usecases.find_kernel import find_kernel
from morph_assets.usecases.verify_kernel import judge_signatures
from morph_kernels.store import ObjectNotFoundError


def find_signature_problem(connections: Connections, what: str) -> str | None:
    """Return why nobody vouches for the bytes that the store holds, or None where a trusted compiler does.

    An evaluator must vouch too once the kernel is validated.

    Raises:
        NotRegisteredError: there is no such kernel.
        StoreError: the store does not answer.
    """
    kernel = find_kernel(connections, what)
    try:
        bundle = fetch_bundle(connections, kernel)
    except (ArtifactDamagedError, ObjectNotFoundError) as error:
        return str(error)
    rejected = judge_signatures(connections, kernel, bundle)
    return None if rejected is None else f"{rejected.reason}: {rejected.detail}"
