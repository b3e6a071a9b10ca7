"""What the demo found out, as facts: for the table that is printed and for `summary.json`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from morph_assets.demo.play import Training


@dataclass(frozen=True)
class KernelFacts:
    """One kernel of the library: times in seconds, milliseconds (load) and microseconds (a training step)."""

    name: str
    digest: str
    target: str
    build_s: float
    built_now: bool
    load_ms: float
    load_source: str
    step_compiled_us: float
    step_eager_us: float
    worst_gradient_error: float


@dataclass(frozen=True)
class DemoSummary:
    """The demo's outcome; `holds` says whether it showed all that it is there to show."""

    kernels: tuple[KernelFacts, ...]
    kernels_published: int
    kernels_built_now: int
    compiled_bodies: int
    inductor_imported: bool
    recovered_bitwise: bool
    recovery_s: float
    accuracy_before: float
    test_accuracy: float
    epochs: int
    killed_after_epoch: int
    run: str
    wall_s: float

    @property
    def holds(self) -> bool:
        """Whether the main job was done."""
        return self.compiled_bodies >= 3 and self.recovered_bitwise and not self.inductor_imported  # noqa: PLR2004 - the demo's own slots

    def to_document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {**asdict(self), "holds": self.holds}


def summarise_training(killed: Training, straight: Training) -> dict[str, Any]:
    """Return the facts of the two trainings that the summary holds."""
    epochs = killed.of("epoch")
    first_graft = next(
        event["epoch"] for event in epochs if any(after == "grafting" for _, _, after in event["transitions"])
    )
    return {
        "compiled_bodies": len(_compiled_digests(killed.events)),
        "inductor_imported": bool(killed.finished["compiler_modules"] or straight.finished["compiler_modules"]),
        "recovered_bitwise": killed.finished["bits"] == straight.finished["bits"],
        "recovery_s": killed.recovery_s,
        "accuracy_before": max(event["test_accuracy"] for event in epochs if event["epoch"] <= first_graft),
        "test_accuracy": epochs[-1]["test_accuracy"],
    }


def _compiled_digests(events: Sequence[dict[str, Any]]) -> set[str]:
    """Return the kernels that training ran in its slots."""
    bodies = {body for event in events if event["event"] == "epoch" for body in event["bodies"].values()}
    return bodies - {"eager"}
