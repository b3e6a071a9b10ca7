"""Runs Dagster's web server and daemon until somebody asks them to stop."""

import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from morph_assets.config import PlatformFolders, with_environment
from morph_assets.devservices.dagster_servers import (
    LOOPBACK,
    plan_dagster_servers,
    require_free_port,
    start_dagster_server,
    stop_dagster_servers,
    web_server_answers,
)
from morph_assets.devservices.errors import ServerFailedError
from morph_assets.devservices.layout import HomeLayout

_READY_S = 120.0
_POLL_S = 0.1
_STOP = frozenset({signal.SIGINT, signal.SIGTERM})
_WOKEN = _STOP | {signal.SIGCHLD}


def serve_dagster(
    folders: PlatformFolders, *, port: int, environment: Mapping[str, str], when_ready: Callable[[str], None]
) -> None:
    """Serve until SIGINT or SIGTERM, then stop everything; `when_ready` gets the URL once the web server answers.

    Call it from the main thread.

    Args:
        folders: the project that is served.
        port: the web server's, on the loopback.
        environment: beside this process's own.
        when_ready: called once.

    Raises:
        PortTakenError: somebody listens on the port.
        ServerFailedError: one of the two ended or did not answer; the other was stopped.
    """
    require_free_port(port)
    layout = HomeLayout(folders.home)
    layout.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    children: dict[str, subprocess.Popen[bytes]] = {}
    with _held_signals():
        try:
            for server in plan_dagster_servers(port=port):
                children[server.name] = start_dagster_server(
                    server,
                    folder=folders.project,
                    log=layout.log_file(server.name),
                    environment=with_environment(environment),
                )
            if _wait_until_ready(children, layout, port):
                when_ready(f"http://{LOOPBACK}:{port}")
                _wait_for_the_end(children, layout)
        finally:
            stop_dagster_servers(list(children.values()))


@contextmanager
def _held_signals() -> Iterator[None]:
    """Keep the signals for `sigtimedwait`: none is lost between starting a child and waiting for it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WOKEN)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait_until_ready(children: Mapping[str, subprocess.Popen[bytes]], layout: HomeLayout, port: int) -> bool:
    """Return True when the web server answers, False when asked to stop before."""
    deadline = time.monotonic() + _READY_S
    while not web_server_answers(port):
        _require_alive(children, layout)
        if time.monotonic() > deadline:
            raise ServerFailedError("webserver", f"did not answer in {_READY_S:.0f} s", layout.log_file("webserver"))
        woken = signal.sigtimedwait(_WOKEN, _POLL_S)
        if woken is not None and woken.si_signo in _STOP:
            return False
    return True


def _wait_for_the_end(children: Mapping[str, subprocess.Popen[bytes]], layout: HomeLayout) -> None:
    while signal.sigwaitinfo(_WOKEN).si_signo not in _STOP:
        _require_alive(children, layout)


def _require_alive(children: Mapping[str, subprocess.Popen[bytes]], layout: HomeLayout) -> None:
    for name, child in children.items():
        status = child.poll()
        if status is not None:
            raise ServerFailedError(name, f"ended with status {status}", layout.log_file(name))
