"""A library that this host has not seen run yet: its first run is a trial, later ones cost nothing more."""

from collections.abc import Callable
from typing import Any

from morph_kernels.artifact.manifest import LibraryRole
from morph_kernels.cache.first_calls import Trial


class FirstRun:
    """Stands in for a library's runner until it ran once to its end."""

    def __init__(self, runner: Any, trial: Trial, role: LibraryRole, *, step_aside: Callable[[Any], None]) -> None:
        """Take the runner, and what puts it where this stands."""
        self._runner, self._trial, self._role, self._step_aside = runner, trial, role, step_aside

    def run(self, tensors: list[Any]) -> Any:
        """Run the library and return what it returns."""
        made = self._trial.run(lambda: self._runner.run(tensors))
        self._step_aside(self._runner)
        self._trial.passed(self._role)
        return made
