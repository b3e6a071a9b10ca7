"""Starts the fresh processes that take one step, with an environment of their own and an end to their patience."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from morph_assets.bench.first_step import StepOrder, StepReply

_PATIENCE_S = 300.0


@dataclass(frozen=True)
class StepOutcome:
    """A step's reply, or how its process ended; `ended_s` is what the whole process took."""

    reply: StepReply | None
    ended_s: float
    code: int = 0
    timed_out: bool = False

    @property
    def answer(self) -> str:
        """What a person reads."""
        if self.timed_out:
            return f"ended by us after {self.ended_s:.0f} s"
        if self.reply is None:
            return f"ended by signal {-self.code}" if self.code < 0 else f"ended with status {self.code}"
        return self.reply.error or self.reply.answer


def job_environment() -> dict[str, str]:
    """Return the environment of a job: none of our settings, and bytecode kept, as whoever installed us has it."""
    dropped = ("MORPH_", "TORCHINDUCTOR_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {"PYTHONPATH": os.pathsep.join(sys.path)}


def compiler_environment(cache_dir: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a process that compiles into a cache folder of its own."""
    return {"TORCHINDUCTOR_CACHE_DIR": str(cache_dir), **variables}


def remote_cache(redis_url: str) -> dict[str, str]:
    """Return the variables that give a compiler its remote cache in Redis."""
    return {"TORCHINDUCTOR_FX_GRAPH_REMOTE_CACHE": "1", "TORCHINDUCTOR_REDIS_URL": redis_url}


def take_step(
    order: StepOrder, *, environment: dict[str, str] | None = None, patience_s: float = _PATIENCE_S
) -> StepOutcome:
    """Take one step in a fresh process; end it with all of its children once patience is at an end."""
    started = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "morph_assets.bench.first_step", json.dumps(asdict(order))],
        env=job_environment() | (environment or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            told, _ = process.communicate(timeout=patience_s)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return StepOutcome(None, time.monotonic() - started, timed_out=True)
    lines = told.splitlines()
    reply = StepReply(**json.loads(lines[-1])) if lines else None
    return StepOutcome(reply, time.monotonic() - started, process.returncode)
