"""Runs a program of `tests/support/sandboxed` in the real sandbox."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from morph_kernels.compile.result import read_result
from morph_kernels.compile.sandbox import Confinement, Limits, Outcome, run_sandboxed

CHILDREN = Path(__file__).parent / "sandboxed"


@dataclass(frozen=True)
class SandboxRun:
    """One finished run and the folder it could write to."""

    outcome: Outcome
    outputs: Path

    def result(self) -> dict[str, Any]:
        """Read the result as every caller of the sandbox does."""
        return read_result(self.outputs / "result.json", self.outcome)


Sandbox = Callable[..., SandboxRun]


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    """Run one program with arguments; `request` appears as a file in its input, what to `see` inside."""
    inputs, outputs = tmp_path / "in", tmp_path / "out"
    inputs.mkdir()
    outputs.mkdir()

    def run(
        program: str,
        *arguments: str,
        limits: Limits | None = None,
        request: Mapping[str, Any] | None = None,
        see: Mapping[Path, Path] | None = None,
    ) -> SandboxRun:
        (inputs / "request.json").write_text(json.dumps(request or {}))
        outcome = run_sandboxed(
            ["-m", f"sandboxed.{program}", *arguments],
            inputs=inputs,
            outputs=outputs,
            limits=limits or Limits(wall_s=60),
            confinement=Confinement(packages=(CHILDREN,), read_only=see or {}),
        )
        return SandboxRun(outcome, outputs)

    return run
