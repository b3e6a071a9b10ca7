"""Builds the demo's library the way everybody does: blueprints submitted, every partition materialised in Dagster."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from morph_assets.platform import Platform
from morph_kernels.blueprint import library_paths
from morph_kernels.errors import MorphError

if TYPE_CHECKING:
    from dagster import DagsterInstance

PUBLISH_JOB = "publish_blueprint"
# The event log in PostgreSQL holds everything; the terminal has a progress bar.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class MaterialisationFailedError(MorphError):
    """A partition did not come through; the message holds the step's error."""


@dataclass(frozen=True)
class Materialised:
    """One partition that went from blueprint to published; `events` counts what Dagster recorded of it."""

    name: str
    events: int


def choose_blueprints(names: Sequence[str]) -> list[Path]:
    """Return the shipped blueprints of these names, or all of them.

    Raises:
        MorphError: a name is not among them.
    """
    paths = {path.stem: path for path in library_paths()}
    unknown = sorted(set(names) - set(paths))
    if unknown:
        raise MorphError(f"no blueprint {', '.join(unknown)} in the library; there are {', '.join(sorted(paths))}")
    return [paths[name] for name in (names or sorted(paths))]


def materialise_library(
    platform: Platform, paths: Sequence[Path], instance: "DagsterInstance", done: Callable[[str], None]
) -> list[Materialised]:
    """Submit blueprints and materialise each one's partition, in one process and without a daemon.

    Raises:
        MaterialisationFailedError: one of them failed; those before it stay.
    """
    from morph_assets.definitions import defs

    job = defs.resolve_job_def(PUBLISH_JOB)
    found = []
    for path in paths:
        name = platform.submit_blueprint(path).name
        instance.add_dynamic_partitions("active_blueprints", [name])
        result = job.execute_in_process(instance=instance, partition_key=name, raise_on_error=False, run_config=_QUIET)
        if not result.success:
            raise MaterialisationFailedError(f"{name}: {_why(result)}")
        found.append(Materialised(name, len(result.all_events)))
        done(name)
    return found


def _why(result: object) -> str:
    failures = [event for event in getattr(result, "all_events", []) if event.is_step_failure]
    return "; ".join(" ".join(str(event.step_failure_data.error_display_string).split())[:600] for event in failures)
