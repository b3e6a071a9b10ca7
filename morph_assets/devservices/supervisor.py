"""The process that owns the servers: starts, restarts and stops them; they die with it.

`python -m morph_assets.devservices.supervisor ORDER`, started by `launch` only. It imports little on purpose:
it stays in memory as long as the servers do.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from morph_assets.devservices.binaries import postgres_binary, valkey_binary
from morph_assets.devservices.errors import ServerFailedError
from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.leftovers import end_leftovers
from morph_assets.devservices.locks import hold_for_life
from morph_assets.devservices.process import ProcessRef, SpawnUser, find_process, spawn
from morph_assets.devservices.servers import Ports, Server, plan_servers
from morph_assets.devservices.supervisor_state import (
    ALREADY_RUNNING,
    READY,
    RunningServer,
    SupervisorOrder,
    SupervisorState,
    utc_now,
    write_state,
)
from morph_kernels.errors import MorphError

_READY_TIMEOUT_S = 60.0
_POLL_S = 0.01
_RESTARTS_AT_MOST = 5
_RESTART_WINDOW_S = 60.0
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SIGNALS = (*_STOP_SIGNALS, signal.SIGHUP, signal.SIGCHLD)
_LOG_BYTES_AT_MOST = 16 * 1024**2


class Supervisor:
    """Runs the servers of one home. One thread: the kernel ties the children's lives to it."""

    def __init__(self, layout: HomeLayout, ports: Ports, user: SpawnUser) -> None:
        self._layout = layout
        self._user = user
        self._servers = plan_servers(layout, ports, postgres=postgres_binary("postgres"), valkey=valkey_binary())
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._restarted_at_s: list[float] = []
        self._state = SupervisorState(pid=os.getpid(), ports=ports)

    def start(self) -> None:
        """Start every server and wait until all are ready.

        Raises:
            ServerFailedError: one ended or did not become ready; the others are stopped.
        """
        try:
            for server in self._servers:
                self._spawn(server, restarts=0)
            for server in self._servers:
                self._await_ready(server)
        except BaseException:
            self.stop()
            raise

    def run(self) -> None:
        """Restart servers that end and write the state anew when told to (SIGHUP), until asked to stop.

        Raises:
            ServerFailedError: a server keeps ending.
        """
        while (number := signal.sigwaitinfo(_SIGNALS).si_signo) not in _STOP_SIGNALS:
            if number == signal.SIGHUP:
                write_state(self._layout.state_file, self._state)
            for server in self._servers:
                if self._children[server.name].poll() is not None:
                    self._restart(server)

    def stop(self) -> None:
        """Stop the servers, the last started first; one that does not listen is killed."""
        for server in reversed(self._servers):
            child = self._children.pop(server.name, None)
            if child is None or child.poll() is not None:
                continue
            child.send_signal(server.stop_signal)
            try:
                child.wait(server.stop_timeout_s)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            _log(f"stopped {server.name}, exit status {child.returncode}")
        self._layout.state_file.unlink(missing_ok=True)

    def _spawn(self, server: Server, *, restarts: int) -> None:
        _bound_log(server.log)
        child = spawn(
            server.argv, user=self._user, death_signal=server.stop_signal, folder=server.folder, log=server.log
        )
        self._children[server.name] = child
        process = find_process(child.pid) or ProcessRef(child.pid, 0)  # ended at once: start ticks that match nothing
        running = RunningServer(server.name, child.pid, process.start_ticks, utc_now(), restarts)
        others = tuple(entry for entry in self._state.servers if entry.name != server.name)
        self._state = replace(self._state, servers=(*others, running))
        write_state(self._layout.state_file, self._state)
        _log(f"started {server.name} as process {child.pid}")

    def _await_ready(self, server: Server) -> None:
        deadline = time.monotonic() + _READY_TIMEOUT_S
        while not server.is_ready():
            if self._children[server.name].poll() is not None:
                raise ServerFailedError(server.name, f"ended at once: {_last_line(server.log)}", server.log)
            if time.monotonic() > deadline:
                raise ServerFailedError(server.name, f"is not ready after {_READY_TIMEOUT_S:.0f} s", server.log)
            time.sleep(_POLL_S)

    def _restart(self, server: Server) -> None:
        status = self._children.pop(server.name).returncode
        now = time.monotonic()
        self._restarted_at_s = [at for at in self._restarted_at_s if now - at < _RESTART_WINDOW_S] + [now]
        if len(self._restarted_at_s) > _RESTARTS_AT_MOST:
            raise ServerFailedError(server.name, f"keeps ending (exit status {status})", server.log)
        _log(f"{server.name} ended with exit status {status}: starting it again")
        end_leftovers(self._layout, server.name)  # the backends of a killed postmaster still hold its memory
        before = self._state.server(server.name)
        self._spawn(server, restarts=before.restarts + 1 if before else 1)


def main(arguments: Sequence[str]) -> int:
    """Become a daemon, start the servers, say so on the descriptor and stay until asked to stop."""
    if os.fork():
        os._exit(0)  # the launcher waits for this one; the other belongs to nobody
    order = SupervisorOrder.from_json(*arguments)
    layout, ready = HomeLayout(Path(order.home)), order.ready_fd
    if not hold_for_life(layout.supervisor_lock):
        _answer(ready, ALREADY_RUNNING)
        return 0
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        end_leftovers(layout)
        supervisor = Supervisor(layout, order.ports, order.user)
        supervisor.start()
    except MorphError as error:
        _answer(ready, str(error))
        return 1
    _answer(ready, READY)
    return _serve(supervisor)


def _serve(supervisor: Supervisor) -> int:
    try:
        supervisor.run()
    except MorphError as error:
        _log(str(error))
        return 1
    finally:
        supervisor.stop()
    return 0


def _answer(descriptor: int, text: str) -> None:
    _log(text)
    with os.fdopen(descriptor, "w", encoding="utf-8") as pipe:
        json.dump({"answer": text}, pipe)


def _log(text: str) -> None:
    sys.stderr.write(f"{utc_now()} {text}\n")  # standard error is the supervisor's log file
    sys.stderr.flush()


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return next((line for line in reversed(lines) if "FATAL" in line or "ERROR" in line), lines[-1] if lines else "")


def _bound_log(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_BYTES_AT_MOST:
        log.replace(log.with_suffix(".log.1"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
