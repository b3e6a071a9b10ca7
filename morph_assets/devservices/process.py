"""Processes named so that a reused pid is never mistaken for them, and children that die with their parent."""

import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

_PR_SET_PDEATHSIG = 1
_STATE_FIELD = 0  # of /proc/PID/stat, after the command's closing bracket
_START_TICKS_FIELD = 19
# Nothing of the caller's: a stray PGPORT or a credential is no business of a server.
SERVER_ENVIRONMENT: Final = MappingProxyType({"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC"})
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class ProcessRef:
    """One process of this boot: its pid and when the kernel started it."""

    pid: int
    start_ticks: int

    def is_alive(self) -> bool:
        """Return whether exactly this process runs; a zombie does not."""
        return find_process(self.pid) == self

    def send(self, number: signal.Signals) -> bool:
        """Signal exactly this process; False if it is gone. A recycled pid is never hit."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.is_alive():  # the descriptor pins the process: what is true now stays true
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def wait(self, timeout_s: float) -> bool:
        """Wait until the process has ended; return whether it has."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return True
        try:
            if not self.is_alive():
                return True
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(max(0, int(timeout_s * 1000))))
        finally:
            os.close(descriptor)


def find_process(pid: int) -> ProcessRef | None:
    """Return the process behind a pid, or None if there is none (or only a zombie)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    if fields[_STATE_FIELD] in {"Z", "X"}:
        return None
    return ProcessRef(pid, int(fields[_START_TICKS_FIELD]))


@dataclass(frozen=True)
class SpawnUser:
    """How a server is kept from being root: a command put before it, or another uid."""

    wrapper: tuple[str, ...] = ()
    uid: int | None = None

    @property
    def owner_uid(self) -> int:
        """The uid that must own the server's files, seen from outside."""
        return os.geteuid() if self.uid is None else self.uid


def spawn(
    argv: Sequence[str | Path],
    *,
    user: SpawnUser,
    death_signal: signal.Signals,
    folder: Path,
    log: Path,
    environment: Mapping[str, str] = SERVER_ENVIRONMENT,
) -> subprocess.Popen[bytes]:
    """Start a child in a folder; it gets `death_signal` when the calling process dies, however it dies.

    It leads a session of its own, so that its children can be found with it.

    Call it from the main thread of a process without others: the kernel ties the signal to the calling thread.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        _libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    identity = {} if user.uid is None else {"user": user.uid, "group": user.uid, "extra_groups": ()}
    with log.open("ab") as output:
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]  # the identity is present or absent
            [*user.wrapper, *argv],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env=environment,
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  # the caller has one thread
            **identity,
        )


def wait_until_gone(processes: Sequence[ProcessRef], timeout_s: float) -> list[ProcessRef]:
    """Wait for processes to end; return those that have not."""
    deadline = time.monotonic() + timeout_s
    return [process for process in processes if not process.wait(deadline - time.monotonic())]
