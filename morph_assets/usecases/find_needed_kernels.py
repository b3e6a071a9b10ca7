"""The kernels that running jobs would miss."""

from morph_assets.connections import Connections
from morph_assets.registry.checkpoints import list_checkpoints, list_runs
from morph_kernels.identity import KernelDigest


def find_needed_kernels(connections: Connections) -> frozenset[KernelDigest]:
    """Return what the newest checkpoints of active runs need: no cache gives it up."""
    registry = connections.registry("platform")
    active = [run.run for run in list_runs(registry) if run.active]
    newest = [checkpoint for run in active for checkpoint in list_checkpoints(registry, run=run, limit=1)]
    return frozenset(KernelDigest(digest) for checkpoint in newest for digest in checkpoint.kernels)
