"""What a run plan in a file names."""

from pathlib import Path

from morph_kernels.errors import MorphError
from morph_kernels.identity import KernelDigest
from morph_kernels.loader import RunPlan


class UnreadablePlanError(MorphError):
    """The file cannot be read."""


def read_run_plan(path: Path) -> tuple[KernelDigest, ...]:
    """Return the kernels that a job with this plan may load, in order.

    Raises:
        UnreadablePlanError: the file cannot be read.
        MalformedError: it holds no run plan.
        BlueprintError: a blueprint in it is none.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadablePlanError(f"{path} cannot be read: {error.strerror}") from error
    planned = RunPlan.from_bytes(data).kernels.values()
    return tuple(sorted({variant.kernel_digest for kernel in planned for variant in kernel.variants}))
