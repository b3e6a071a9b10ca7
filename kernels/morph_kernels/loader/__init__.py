"""Gives a working module at once: compiled if trusted and in time, eager otherwise.

Not here: building kernels.
"""

from morph_kernels.imports import uncollected

with uncollected():
    from morph_kernels.loader.boundary import BoundaryError
    from morph_kernels.loader.exchange import BoundaryReport
    from morph_kernels.loader.loader import KernelLoader, PinnedBodyError
    from morph_kernels.loader.module import KernelModule
    from morph_kernels.loader.plan import RunPlan
    from morph_kernels.loader.releases import BlueprintUnreachableError

__all__ = [
    "BlueprintUnreachableError",
    "BoundaryError",
    "BoundaryReport",
    "KernelLoader",
    "KernelModule",
    "PinnedBodyError",
    "RunPlan",
]
