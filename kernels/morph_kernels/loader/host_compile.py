"""How a host that is itself under `torch.compile` sees a kernel module: one clean graph break, nothing of it traced.

What `torch.compiler.disable` does, without importing the compiler into every training process.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import torch

F = TypeVar("F", bound=Callable[..., Any])


def untraced(function: F) -> F:
    """Mark a function so that a compiling host calls it as it is, and whatever it calls too."""
    frames = torch._C._dynamo.eval_frame  # noqa: SLF001 - the public decorator imports the compiler
    skip = frames._FrameAction.SKIP  # noqa: SLF001 - the same
    frames.set_code_exec_strategy(function.__code__, frames._FrameExecStrategy(skip, skip))  # noqa: SLF001 - the same
    function._torchdynamo_disable = True  # type: ignore[attr-defined]  # noqa: SLF001 - read by the compiler
    function._torchdynamo_disable_msg = "a kernel module chooses its body at every call"  # type: ignore[attr-defined]  # noqa: SLF001 - the same
    return function
