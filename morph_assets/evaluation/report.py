"""The report of an evaluation: a JSON document that a person can read and a digest can cover."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from morph_assets.evaluation.measured import Comparison, Measured, Timing
from morph_assets.evaluation.policy import EvaluationPolicy
from morph_assets.evaluation.samples import Sample
from morph_assets.evaluation.tags import plan_speed_ratio
from morph_assets.evaluation.verdict import Failed, Verdict
from morph_kernels.artifact.target import Target

FORMAT_VERSION: Final = 1
_DIGITS: Final = 4


@dataclass(frozen=True)
class Measurement:
    """One number of a kernel; of an empty shape class, it sums the kernel up."""

    device: str
    dtype: str
    shape_class: str
    metric: str
    value: float
    unit: str


def plan_report(
    facts: Mapping[str, Any],
    verdict: Verdict,
    measured: Measured,
    samples: Iterable[Sample],
    policy: EvaluationPolicy,
) -> dict[str, Any]:
    """Return the report: who and what (`facts`), the verdict, one row a sample and thread count, times and memory."""
    reasons = verdict.reasons if isinstance(verdict, Failed) else ()
    return {
        **facts,
        "cases": [row for sample in samples for row in _rows(sample, measured)],
        "covered_share": _number(measured.covered_share),
        "cpu_s": _number(measured.cpu_s),
        "format_version": FORMAT_VERSION,
        "memory": asdict(measured.memory) if measured.memory is not None else None,
        "policy": {"digest": policy.attested.digest, "document": policy.to_document(), "uri": policy.attested.uri},
        "reasons": [failure.to_document() for failure in reasons],
        "timings": [_timing(timing) for timing in measured.timings],
        "verdict": "failed" if reasons else "passed",
    }


def plan_measurements(measured: Measured, target: Target, *, library_bytes: int) -> tuple[Measurement, ...]:
    """Return the numbers that the registry keeps; none is NaN or infinite.

    The sums are the speed ratio, the time of a step at the middle size at the better number of threads, the bytes that
    a loaded kernel takes (libraries, and what it holds at the largest timed size), the worst errors and the covered
    share.
    """
    found: dict[tuple[str, str], tuple[float, str]] = {("", "covered_share"): (measured.covered_share, "1")}
    for timing in measured.timings:
        shape = f"{timing.shape}/threads={timing.threads}"
        found[shape, f"{timing.direction}_us"] = (timing.compiled.median, "us")
        found[shape, f"{timing.direction}_eager_us"] = (timing.eager.median, "us")
        found[shape, f"{timing.direction}_ratio"] = (timing.ratio, "1")
    steps = [t.compiled.median for t in measured.timings if t.sample == "middle" and t.direction == "step"]
    if steps:
        found["", "latency_us"] = (min(steps), "us")
    ratio = plan_speed_ratio(measured)
    if ratio is not None:
        found["", "speed_ratio"] = (ratio, "1")
    if measured.memory is not None:
        found["", "memory_bytes"] = (float(measured.memory.held_bytes + library_bytes), "B")
    for kind in ("output", "gradient", "buffer"):
        errors = [comparison.error for comparison in measured.comparisons if comparison.kind == kind]
        if errors:
            found["", f"worst_{kind}_error"] = (max(errors), "1")
    return tuple(
        Measurement(target.device, target.dtype, shape, metric, value, unit)
        for (shape, metric), (value, unit) in found.items()
        if math.isfinite(value)
    )


def _rows(sample: Sample, measured: Measured) -> Iterable[dict[str, Any]]:
    for threads in measured.threads:
        here = (sample.label, threads)
        compared = [c for c in measured.comparisons if (c.sample, c.threads) == here]
        broken = [f.claim for f in measured.facts if (f.sample, f.threads) == here and not f.holds]
        yield {
            "broken": broken,
            "pattern": sample.pattern,
            "sample": sample.label,
            "sizes": dict(sample.sizes),
            "tensors": {c.tensor: [_number(c.error), _number(c.eager_error)] for c in compared},
            "threads": threads,
            "worst": {kind: _worst(compared, kind) for kind in ("output", "gradient", "buffer")},
        }


def _worst(compared: Iterable[Comparison], kind: str) -> dict[str, Any] | None:
    found = [comparison for comparison in compared if comparison.kind == kind]
    if not found:
        return None
    worst = max(found, key=lambda comparison: comparison.error)
    return {"error": _number(worst.error), "tensor": worst.tensor}


def _timing(timing: Timing) -> dict[str, Any]:
    document = asdict(timing)
    document["ratio"] = _number(timing.ratio)
    for side in ("compiled", "eager"):
        document[f"{side}_us"] = {key: _number(value) for key, value in document.pop(side).items()}
    return document


def _number(value: float) -> float | str:
    """Round for the eye; what JSON has no number for becomes a word."""
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else str(value)
