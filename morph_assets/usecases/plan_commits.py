"""Decides which committed checkpoints are shown, and for which runs."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from morph_assets.registry.checkpoints import CheckpointRecord, RunRecord


@dataclass(frozen=True)
class CommitsPlan:
    """Runs to take up and to drop, the checkpoints to report, and how many belong to runs that are not shown."""

    register: tuple[str, ...]
    drop: tuple[str, ...]
    report: tuple[CheckpointRecord, ...]
    passed_over: int


def plan_commits(
    committed: Sequence[CheckpointRecord], *, registered: Collection[str], runs: Sequence[RunRecord], most: int
) -> CommitsPlan:
    """Return what to report, for at most so many runs; `runs` are the registry's, newest first.

    Those that train now come before the others. Nothing is dropped as long as there is room.
    """
    shown = [run.run for run in sorted(runs, key=lambda run: not run.active)][:most]
    report = tuple(checkpoint for checkpoint in committed if checkpoint.run in shown)
    register = tuple(dict.fromkeys(checkpoint.run for checkpoint in report if checkpoint.run not in registered))
    overflows = len(set(registered)) + len(register) > most
    drop = tuple(sorted(set(registered) - set(shown))) if overflows else ()
    return CommitsPlan(register, drop, report, len(committed) - len(report))
