"""The picture of a training run: losses and accuracy by epoch, when what grew, and where it was killed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from morph_assets.demo.play import Training


def draw_training(training: Training, path: Path) -> None:
    """Write a PNG: losses (left, logarithmic) and test accuracy (right) by epoch, with grafts and the kill marked."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    epochs = training.of("epoch")
    numbers = [event["epoch"] for event in epochs]
    figure, (losses, scores) = plt.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")
    losses.plot(numbers, [event["training_loss"] for event in epochs], label="training loss")
    losses.plot(numbers, [event["validation_loss"] for event in epochs], label="validation loss")
    losses.set(yscale="log", ylabel="cross entropy (nats)", title="Handwritten digits: a network that grows")
    scores.plot(numbers, [100 * event["test_accuracy"] for event in epochs], color="tab:green", label="test accuracy")
    scores.set(ylabel="test accuracy (%)", xlabel="epoch")
    for axes in (losses, scores):
        _mark(axes, epochs, killed_after=_last_before_kill(training))
        axes.grid(visible=True, alpha=0.3)
        axes.legend(loc="best")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def _last_before_kill(training: Training) -> int | None:
    if training.killed_at is None:
        return None
    return max(int(event["epoch"]) for event in training.of("epoch") if event["at"] <= training.killed_at)


def _mark(axes: Any, epochs: Sequence[dict[str, Any]], *, killed_after: int | None) -> None:
    for event in epochs:
        for slot, _, after in event["transitions"]:
            if after in {"grafting", "fossilized"}:
                style = ":" if after == "grafting" else "--"
                axes.axvline(event["epoch"], color="tab:gray", linestyle=style, linewidth=1)
                axes.annotate(
                    f"{slot} {after}",
                    (event["epoch"], 0.02),
                    xycoords=("data", "axes fraction"),
                    rotation=90,
                    fontsize=7,
                    ha="right",
                )
    if killed_after is not None:
        axes.axvline(killed_after, color="tab:red", linewidth=2, alpha=0.6, label="killed with SIGKILL, recovered")
