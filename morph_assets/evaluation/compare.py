"""Compares what the candidate recorded with what the reference did; numpy only, in the trusted process."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from morph_assets.evaluation import exchange
from morph_assets.evaluation.exchange import GarbledError, Recording, recording_name
from morph_assets.evaluation.measured import Comparison, Fact, Failure, Kind
from morph_assets.evaluation.samples import Sample
from morph_assets.evaluation.trial import Trial
from morph_kernels.reasons import Reason

Arrays = Mapping[str, np.ndarray]
Found = Comparison | Fact | Failure
_MAX_REFERENCE_BYTES = 512 * 1024 * 1024
_HEADER_ROOM_BYTES = 1024 * 1024
_KINDS: dict[str, Kind] = {
    "buffer": "buffer",
    "input_gradient": "gradient",
    "output": "output",
    "parameter_gradient": "gradient",
}


@dataclass(frozen=True)
class Eager:
    """What eager did with one sample: in float32, whose bits and shapes are expected, and in float64, the truth."""

    single: Recording
    double: Recording


def compare_all(reference: Path, candidate: Path, trial: Trial) -> Iterator[Found]:
    """Yield what every recording of the candidate shows; a missing or garbled one is a failure.

    Raises:
        GarbledError: the reference itself is missing or garbled.
    """
    for index, sample in enumerate(trial.samples):
        eager = Eager(
            exchange.read_recording(reference / recording_name(index, "float32"), max_bytes=_MAX_REFERENCE_BYTES),
            exchange.read_recording(reference / recording_name(index, "float64"), max_bytes=_MAX_REFERENCE_BYTES),
        )
        room = sum(value.nbytes for value in eager.single.tensors.values()) + _HEADER_ROOM_BYTES
        for count in trial.threads:
            path = candidate / recording_name(index, str(count))
            try:
                found = exchange.read_recording(path, max_bytes=room)
            except GarbledError as error:
                yield Failure(Reason.NO_RESULT, f"{sample.label} at {count} threads: {error}")
                continue
            yield from compare(sample, count, found, eager, gradient_floor=trial.policy.gradient_floor)


def compare(sample: Sample, threads: int, found: Recording, eager: Eager, *, gradient_floor: float) -> Iterator[Found]:
    """Compare one recording with eager's of the same sample."""
    layout = {name: (value.dtype, value.shape) for name, value in found.tensors.items()}
    expected = {name: (value.dtype, value.shape) for name, value in eager.single.tensors.items()}
    if layout != expected:
        odd = sorted(name for name in layout.keys() | expected.keys() if layout.get(name) != expected.get(name))
        yield Failure(Reason.WRONG_INTERFACE, f"{sample.label} at {threads} threads: {', '.join(odd)[:200]}")
        return
    floors = plan_floors(eager.double.tensors, gradient_floor)
    for name, value in found.tensors.items():
        group = name.partition(".")[0]
        single, double = eager.single.tensors[name], eager.double.tensors[name]
        error, eager_error = relative_errors(value, single, double, floor=floors.get(group, 0.0))
        yield Comparison(sample.label, threads, name, _KINDS[group], error, eager_error)
    yield from _compare_facts(sample, threads, found, eager.single)


def plan_floors(exact: Arrays, share: float) -> dict[str, float]:
    """Return the least scale of each group of gradients: a share of the largest norm in it."""
    floors: dict[str, float] = {}
    for name, value in exact.items():
        group = name.partition(".")[0]
        if _KINDS[group] == "gradient":
            floors[group] = max(floors.get(group, 0.0), share * _norm(value[np.isfinite(value)]))
    return floors


def relative_errors(value: np.ndarray, eager: np.ndarray, exact: np.ndarray, *, floor: float) -> tuple[float, float]:
    """Return the errors of a value and of eager float32 against float64, over the norm of float64.

    Where eager is not finite the value must not be either, and elsewhere it must: else the error is infinite. Only
    what is finite in all three is measured. Whole numbers are equal or infinitely wrong.
    """
    if value.dtype.kind != "f":
        return (0.0 if np.array_equal(value, eager) else float("inf")), 0.0
    finite = np.isfinite(eager)
    if not np.array_equal(finite, np.isfinite(value)):
        return float("inf"), 0.0
    finite = finite & np.isfinite(exact)
    truth = exact[finite]
    scale = max(_norm(truth), floor)
    error, eager_error = _norm(value[finite] - truth), _norm(eager[finite] - truth)
    if scale == 0.0:
        return (0.0, 0.0) if error == eager_error == 0.0 else (float("inf"), float("inf"))
    return error / scale, eager_error / scale


def _norm(value: np.ndarray) -> float:
    wide = value.astype(np.float64)
    largest = float(np.max(np.abs(wide), initial=0.0))
    return largest * float(np.linalg.norm(wide / largest)) if largest > 0.0 else 0.0


def _compare_facts(sample: Sample, threads: int, found: Recording, single: Recording) -> Iterator[Fact]:
    def fact(claim: str, reason: Reason, *, holds: bool) -> Fact:
        return Fact(sample.label, threads, claim, reason, holds)

    bits = {name: found.digests.get(name) == digest for name, digest in single.digests.items()}
    yield fact("the generator is left as eager leaves it", Reason.WRONG_RANDOMNESS, holds=bits.pop("generator"))
    changed = ", ".join(name for name, same in bits.items() if not same)
    claims, steps = found.claims, sample.steps
    yield fact(
        f"inputs, parameters and tangents keep their bits {changed}".strip(), Reason.OVERWRITES, holds=not changed
    )
    yield fact("outputs keep their bits in the backward", Reason.OVERWRITES, holds=claims.get("outputs_kept") is True)
    yield fact("a second backward gives the same bits", Reason.OVERWRITES, holds=claims.get("saved_kept") is True)
    yield fact("gradients share no memory", Reason.SHARES_MEMORY, holds=_shares_nothing(sample, found))
    yield fact("a second run gives the same bits", Reason.NOT_REPEATABLE, holds=claims.get("repeats") is True)
    yield fact(
        f"the body that runs is {sample.path}", Reason.WRONG_PATH, holds=claims.get("calls") == {sample.path: steps}
    )


def _shares_nothing(sample: Sample, found: Recording) -> bool:
    # Eager may hand a tangent on as a gradient; only what is compiled promises not to.
    return found.claims.get("sharing") == [] or sample.path != "compiled"
