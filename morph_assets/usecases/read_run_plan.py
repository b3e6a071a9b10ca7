"""What a run plan in a file names."""

from pathlib import Path

from morph_kernels.errors import MorphError
from morph_kernels.identity import KernelDigest
from morph_kernels.loader import RunPlan
from morph_kernels.loader.plan import MAX_PLAN_BYTES


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
        with path.open("rb") as file:
            # One byte more than a plan has, so that a larger file is refused by its size.
            data = file.read(MAX_PLAN_BYTES + 1)
    except OSError as error:
        raise UnreadablePlanError(f"{path} cannot be read: {error.strerror}") from error
    planned = RunPlan.from_bytes(data).kernels.values()
    return tuple(sorted({variant.kernel_digest for kernel in planned for variant in kernel.variants}))
