"""Dagster's web server and daemon as children of this process: how they start, answer and stop."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from morph_assets.devservices.errors import PortTakenError
from morph_assets.devservices.process import SpawnUser, spawn

LOOPBACK = "127.0.0.1"
WORKSPACE = Path(__file__).with_name("workspace.yaml")
_PROBE_TIMEOUT_S = 2.0
_STOP_TIMEOUT_S = 15.0


@dataclass(frozen=True)
class DagsterServer:
    """One of the two: its name, which is its log's, and how it is started."""

    name: str
    argv: tuple[str, ...]


def plan_dagster_servers(*, python: str = sys.executable, port: int) -> tuple[DagsterServer, ...]:
    """Return both servers; the web server listens on the loopback alone."""
    workspace = ("-w", str(WORKSPACE))
    web = (python, "-m", "dagster_webserver", "-h", LOOPBACK, "-p", str(port), *workspace)
    daemon = (python, "-m", "dagster._daemon", "run", *workspace)
    return DagsterServer("webserver", web), DagsterServer("daemon", daemon)


def require_free_port(port: int) -> None:
    """Refuse a port that somebody listens on.

    Raises:
        PortTakenError: the message names the option.
    """
    with socket.socket() as listener:
        # As the web server does: a connection that was closed a moment ago is nobody listening.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            raise PortTakenError(port, "--port") from error


def start_dagster_server(
    server: DagsterServer, *, folder: Path, log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start one; it is asked to stop when this process dies, however it dies."""
    return spawn(
        server.argv,
        user=SpawnUser(),
        death_signal=signal.SIGTERM,
        folder=folder,
        log=log,
        environment=environment,
    )


def web_server_answers(port: int) -> bool:
    """Return whether the web server serves."""
    opener = build_opener(ProxyHandler({}))  # a proxy for the outside has no business here
    try:
        with opener.open(f"http://{LOOPBACK}:{port}/server_info", timeout=_PROBE_TIMEOUT_S) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004  # HTTP's own word for yes
    except OSError:
        return False


def stop_dagster_servers(children: Sequence[subprocess.Popen[bytes]]) -> None:
    """Ask each to stop, wait, and end whatever is left of their sessions: code servers, runs, compilers."""
    for child in children:
        if child.poll() is None:
            child.terminate()
    for child in children:
        with suppress(subprocess.TimeoutExpired):
            child.wait(_STOP_TIMEOUT_S)
    for child in children:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
