"""What an evaluation found out, before anyone judges it."""

from dataclasses import dataclass
from typing import Literal

from morph_kernels.reasons import Reason

Kind = Literal["output", "gradient", "buffer"]


@dataclass(frozen=True)
class Failure:
    """One thing that is wrong: a reason that metrics can count, and a sentence for a person."""

    reason: Reason
    detail: str

    def to_document(self) -> dict[str, str]:
        """Return the JSON object of the report."""
        return {"detail": self.detail, "reason": str(self.reason)}


@dataclass(frozen=True)
class Comparison:
    """How far one tensor is from eager float64, and how far eager float32 is. NaN is never close."""

    sample: str
    threads: int
    tensor: str
    kind: Kind
    error: float
    eager_error: float


@dataclass(frozen=True)
class Fact:
    """Something that holds or does not; `reason` is why a kernel fails for which it does not."""

    sample: str
    threads: int
    claim: str
    reason: Reason
    holds: bool


@dataclass(frozen=True)
class Spread:
    """A timed row in microseconds."""

    median: float
    least: float
    most: float


@dataclass(frozen=True)
class Timing:
    """Compiled against eager, in pairs taken in turn. `ratio` is the median of eager over compiled, pair by pair."""

    sample: str
    shape: str
    threads: int
    direction: Literal["forward", "step"]
    compiled: Spread
    eager: Spread
    ratio: float
    pairs: int

    @property
    def favourable_ratio(self) -> float:
        """The better of the median ratio and that of the least times: a neighbour on the machine spoils only one."""
        return max(self.ratio, self.eager.least / self.compiled.least)


@dataclass(frozen=True)
class Memory:
    """Bytes that the C library's allocator counts, so tensors of torch and not Python's own objects.

    `growth_bytes` is after many steps against before; the held bytes lie between a forward and its backward, at the
    largest timed size. Peaks inside one library call are not seen.
    """

    growth_bytes: int
    held_bytes: int
    eager_held_bytes: int


@dataclass(frozen=True)
class Measured:
    """Everything that the verdict depends on. `failures` are those that kept something from being measured."""

    samples: tuple[str, ...]
    threads: tuple[int, ...]
    covered_share: float
    comparisons: tuple[Comparison, ...] = ()
    facts: tuple[Fact, ...] = ()
    timings: tuple[Timing, ...] = ()
    memory: Memory | None = None
    failures: tuple[Failure, ...] = ()
    cpu_s: float = 0.0
