"""What an evaluation measures and where it draws the lines."""

from dataclasses import asdict, dataclass
from typing import Any

from morph_kernels.artifact.attestation import Policy
from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.identity import BlobDigest

POLICY_URI = "urn:morph-assets:evaluation:v1"


@dataclass(frozen=True)
class EvaluationPolicy:
    """The thresholds of the verdict and the size of the sample; its digest stands in every verification summary.

    An error is the norm of the difference from eager float64 over the norm of eager float64. A kernel is allowed
    `max_error` plus `eager_factor` times the error of eager float32 on the same inputs, of which no more than
    `max_eager_error` counts. A gradient's scale is at least `gradient_floor` times the largest gradient norm of the
    same kind, because some gradients are zero but for rounding (a convolution's bias before BatchNorm).

    Attributes:
        max_error: what a kernel may be off where eager is exact.
        eager_factor: how many times eager's own error it may add.
        max_eager_error: the most of eager's error that counts.
        gradient_floor: the least scale of a gradient, as a share of the largest gradient.
        max_growth_bytes: how much more memory may be allocated after `growth_iterations` steps than before.
        max_held_ratio: bytes held between forward and backward, against eager.
        held_slack_bytes: how many held bytes are free.
        min_speed_ratio: eager step time over compiled step time, at every timed size.
        min_covered_share: the share of the interface's sizes that the libraries cover.
        most_threads: threads beside one and one more than the builder's.
        growth_iterations: training steps under which memory is watched.
        max_input_elements: the bound of the large samples.
        timing_pairs: the most pairs in one timed row.
        timing_budget_s: the time after which a row takes no more pairs.
    """

    max_error: float = 1e-5
    eager_factor: float = 16.0
    max_eager_error: float = 1e-3
    gradient_floor: float = 0.01
    max_growth_bytes: int = 32 * 1024
    max_held_ratio: float = 4.0
    held_slack_bytes: int = 64 * 1024
    min_speed_ratio: float = 0.1
    min_covered_share: float = 0.01
    most_threads: int = 16
    growth_iterations: int = 200
    max_input_elements: int = 2**19
    timing_pairs: int = 15
    timing_budget_s: float = 0.15

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object that the digest covers."""
        return asdict(self)

    @property
    def attested(self) -> Policy:
        """The policy as a verification summary names it."""
        return Policy(POLICY_URI, BlobDigest(sha256_hex(canonical_bytes(self.to_document()))))

    def error_limit(self, eager_error: float) -> float:
        """Return the error that a kernel may have where eager float32 has `eager_error`."""
        return self.max_error + self.eager_factor * min(eager_error, self.max_eager_error)
