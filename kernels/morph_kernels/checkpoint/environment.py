"""What the bits of this process's arithmetic depend on."""

import torch

from morph_kernels.artifact.target import current_runtime
from morph_kernels.checkpoint.manifest import Environment


def current_environment() -> Environment:
    """Return torch's version without its local part, the number of threads now, and the instruction set."""
    return Environment(
        torch=torch.__version__.partition("+")[0], threads=torch.get_num_threads(), isa=current_runtime().isa
    )
