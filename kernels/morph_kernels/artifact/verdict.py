"""The outcome of a judgement: refused, and why."""

from dataclasses import dataclass

from morph_kernels.reasons import Reason


@dataclass(frozen=True)
class Rejected:
    """Not to be used. `reason` is for counters and audit, `detail` for a person; neither holds a secret."""

    reason: Reason
    detail: str
