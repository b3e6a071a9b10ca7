"""Plays the demo: builds and proves the library through Dagster, then grows a network that is killed and comes back."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from morph_kernels.errors import MorphError

EPOCHS: Final = 34
KILL_AFTER: Final = 18
# Far more than the demo takes; a process that hangs is killed, and so reported.
_TRAINING_S = 300.0

Event = dict[str, Any]
Listener = Callable[[Event], None]


class TrainingFailedError(MorphError):
    """A training process of the demo did not end as it must; the message ends with its log."""


@dataclass
class Training:
    """What one way of training told, event by event; `killed_at` is when it was killed, on the clock of the events."""

    events: list[Event] = field(default_factory=list)
    killed_at: float | None = None

    def of(self, kind: str) -> list[Event]:
        """Return the events of a kind, in order."""
        return [event for event in self.events if event["event"] == kind]

    @property
    def finished(self) -> Event:
        """The last word of the run."""
        return self.of("finished")[-1]

    @property
    def recovery_s(self) -> float:
        """Seconds from the kill until another process stood where the last checkpoint was."""
        if self.killed_at is None:
            raise ValueError("this training was never killed")
        return float(self.of("resumed")[0]["at"]) - self.killed_at


def train_through_a_kill(folder: Path, run: str, plan: Path, listen: Listener) -> Training:
    """Train, kill the process with SIGKILL midway, and let another one finish from the last checkpoint.

    Raises:
        TrainingFailedError: one of the processes failed by itself.
    """
    training = Training()
    with _process(folder, run, plan) as process:
        for event in _events(process):
            training.events.append(event)
            listen(event)
            if event["event"] == "epoch" and event["epoch"] == KILL_AFTER:
                process.kill()
                training.killed_at = time.time()
                break
        process.wait()
    if training.killed_at is None:
        raise _failure(folder, run)
    _run_to_end(folder, run, plan, training, listen, resume=True)
    return training


def train_straight(folder: Path, run: str, plan: Path, listen: Listener) -> Training:
    """Train the same from beginning to end.

    Raises:
        TrainingFailedError: the process failed.
    """
    training = Training()
    _run_to_end(folder, run, plan, training, listen, resume=False)
    return training


def new_run_name() -> str:
    """Return a name that no run had before."""
    return f"digits-{datetime.now(UTC):%Y%m%dt%H%M%S}"


def _run_to_end(folder: Path, run: str, plan: Path, training: Training, listen: Listener, *, resume: bool) -> None:
    with _process(folder, run, plan, resume=resume) as process:
        for event in _events(process):
            training.events.append(event)
            listen(event)
        if process.wait() != 0 or not training.of("finished"):
            raise _failure(folder, run)


@contextmanager
def _process(folder: Path, run: str, plan: Path, *, resume: bool = False) -> Iterator[subprocess.Popen[str]]:
    """Start a training process; its log goes into the folder, and it never outlives this."""
    command = [sys.executable, "-m", "morph_assets.demo.train", "--run", run, "--plan", str(plan)]
    command += ["--epochs", str(EPOCHS), *(["--resume"] if resume else [])]
    with _log_of(folder, run).open("a") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, text=True)
    watchdog = threading.Timer(_TRAINING_S, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()


def _events(process: subprocess.Popen[str]) -> Iterator[Event]:
    if process.stdout is None:
        raise ValueError("a training process speaks through its standard output")
    for line in process.stdout:
        yield json.loads(line)


def _failure(folder: Path, run: str) -> TrainingFailedError:
    path = _log_of(folder, run)
    tail = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
    return TrainingFailedError(f"training run {run} failed; see {path}, which ends: {' | '.join(tail)}")


def _log_of(folder: Path, run: str) -> Path:
    return folder / f"{run}.log"
