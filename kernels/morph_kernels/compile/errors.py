"""What can go wrong while a blueprint is compiled."""

from morph_kernels.errors import MorphError


class CompileError(MorphError):
    """The blueprint cannot be turned into a kernel as it is; compiling again gives the same answer."""


class SandboxError(MorphError):
    """The sandbox ended without a result: a limit was reached or the child died. The log's end is in the message."""

    retryable = True
