"""Runs the evaluation's children and says how they ended."""

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from morph_assets.evaluation import exchange
from morph_assets.evaluation.exchange import GarbledError
from morph_assets.evaluation.measured import Failure
from morph_kernels.artifact.manifest import KernelManifest, LibraryRole
from morph_kernels.blueprint import Blueprint
from morph_kernels.compile.errors import SandboxError
from morph_kernels.compile.sandbox import Confinement, Limits, Outcome, run_sandboxed
from morph_kernels.reasons import Reason

_CHILD: Final = "morph_assets.evaluation.child"
_PACKAGES: Final = (*Confinement().packages, Path(__file__).resolve().parents[1])
_MOST_WORDS: Final = 400
# A program that a signal ended shows as 128 and the signal's number.
_OVER_CPU: Final = frozenset({128 + signal.SIGXCPU, -signal.SIGXCPU})


def run_child(
    request: Mapping[str, Any],
    folder: Path,
    *,
    blueprint: Blueprint,
    kernel: tuple[KernelManifest, Mapping[LibraryRole, bytes]] | None,
    limits: Limits,
) -> Outcome:
    """Run a child in a sandbox of its own; what it leaves is in `folder/out`.

    Raises:
        SandboxError: the sandbox itself could not be set up.
    """
    inputs, outputs = folder / "in", folder / "out"
    inputs.mkdir(mode=0o700, parents=True)
    outputs.mkdir(mode=0o700)
    (inputs / exchange.BLUEPRINT).write_bytes(blueprint.to_bytes())
    names: dict[str, str] = {}
    if kernel is not None:
        manifest, libraries = kernel
        (inputs / exchange.MANIFEST).write_bytes(manifest.to_bytes())
        for library in manifest.libraries:
            names[library.role] = f"{library.digest}.so"
            (inputs / names[library.role]).write_bytes(libraries[library.role])
    document = {**request, "libraries": names}
    (inputs / exchange.REQUEST).write_text(json.dumps(document), encoding="utf-8")
    confinement = Confinement(packages=_PACKAGES)
    return run_sandboxed(["-m", _CHILD], inputs=inputs, outputs=outputs, limits=limits, confinement=confinement)


def find_failure(outcome: Outcome, outputs: Path) -> Failure | None:
    """Return why a candidate ended without a result, or None if it left one."""
    stage = f"while {_read_stage(outputs)}"
    if outcome.timed_out or outcome.exit_code in _OVER_CPU:
        return Failure(Reason.TIMED_OUT, f"stopped after {outcome.wall_s:.0f} s, {stage}")
    if outcome.exit_code == 0:
        return None
    try:
        refusal = exchange.read_object(outputs / exchange.REFUSAL)
    except GarbledError:
        return Failure(Reason.CRASHED, f"{_describe_exit(outcome.exit_code)} {stage}: {_printable(outcome.log[-200:])}")
    return _refused(str(refusal.get("error")), _printable(str(refusal.get("message"))), stage)


def raise_broken(outcome: Outcome, outputs: Path) -> None:
    """Raise if the reference did not end well: no fault of the kernel, which it never saw.

    Raises:
        SandboxError: always with how it ended; retryable.
    """
    failure = find_failure(outcome, outputs)
    if failure is not None:
        raise SandboxError(f"the eager reference broke: {failure.detail}")


def _refused(error: str, message: str, stage: str) -> Failure:
    if error == "BodyLoadError":
        return Failure(Reason.LOAD_FAILED, message)
    # Torch reports a refused allocation as a plain RuntimeError.
    if error == "MemoryError" or "can't allocate memory" in message or "bad_alloc" in message:
        return Failure(Reason.OUT_OF_MEMORY, f"{message} {stage}")
    return Failure(Reason.CRASHED, f"{error} {stage}: {message}")


def _describe_exit(code: int) -> str:
    number = code - 128 if code > 128 else -code  # noqa: PLR2004 - the shell's convention
    try:
        return f"ended by {signal.Signals(number).name}"
    except ValueError:
        return f"ended with {code}"


def _read_stage(outputs: Path) -> str:
    try:
        stage = exchange.read_untrusted(outputs / exchange.STAGE, max_bytes=_MOST_WORDS)
    except GarbledError:
        return "starting"
    return _printable(stage.decode(errors="replace")) or "starting"


def _printable(text: str) -> str:
    """Keep what a person can read of a text that nobody vouches for."""
    return "".join(c if c.isprintable() else " " for c in text[:_MOST_WORDS]).strip()
