"""Brings cold kernels back to where loaders read, because a loader missed them."""

from collections.abc import Iterable
from datetime import UTC, datetime

from morph_assets.connections import Connections
from morph_assets.registry.kernels import get_kernel
from morph_assets.registry.usage import report_served
from morph_assets.usecases.acknowledge import acknowledged
from morph_assets.usecases.move_kernel import move_kernel
from morph_kernels.identity import KernelDigest
from morph_kernels.store import ObjectNotFoundError


@acknowledged
def recall_kernels(connections: Connections, digests: Iterable[KernelDigest]) -> tuple[KernelDigest, ...]:
    """Move the kernels into the store; return those that are there. A recall counts as a use: they do not leave again.

    Raises:
        NotRegisteredError: there is no such kernel.
        KernelInWorkError: another process is at one of them.
        PlatformDownError: no cold place is known.
        ArtifactDamagedError: the cold copy is damaged.
        StoreError: a place does not answer.
    """
    registry = connections.registry("platform")
    recalled: list[KernelDigest] = []
    for digest in digests:
        began_at = datetime.now(UTC)
        try:
            moved = move_kernel(connections, digest, "store", reason="a loader missed it")
        except ObjectNotFoundError:
            connections.counts["recall_lost"] += 1  # a scrub has it rebuilt
            continue
        if moved:
            size_bytes = connections.main_store.size(get_kernel(registry, digest).bundle_key)
            # At once: a kernel that nobody is known to use goes cold again.
            report_served(registry, {digest: size_bytes}, began_at=began_at, ended_at=datetime.now(UTC))
            recalled.append(digest)
    return tuple(recalled)
