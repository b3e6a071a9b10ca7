"""Starts and stops the embedded servers of a home; the caller holds the lock on the home folder."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from morph_assets.devservices.binaries import postgres_binary, valkey_binary
from morph_assets.devservices.errors import PortTakenError, ServerFailedError, ServicesError
from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.leftovers import end_leftovers
from morph_assets.devservices.locks import find_holder
from morph_assets.devservices.postgres import initialise_data
from morph_assets.devservices.process import ProcessRef, SpawnUser, find_process
from morph_assets.devservices.servers import Ports, postgres_is_ready, valkey_configuration, valkey_is_ready
from morph_assets.devservices.spawn_user import choose_user, give, hand_over
from morph_assets.devservices.supervisor_state import (
    ALREADY_RUNNING,
    READY,
    SupervisorOrder,
    SupervisorState,
    find_state,
)
from morph_assets.devservices.valkey_users import REDIS_SECRET, load_users, write_users
from morph_kernels.durable_file import replace_file

SUPERVISOR = "supervisor"
BOOTSTRAP_SECRET = "bootstrap"  # noqa: S105  # the name of a secret
_START_TIMEOUT_S = 90.0
_POLL_S = 0.01
_SERVER_COUNT = 2
_STOP_TIMEOUT_S = 40.0


def find_supervisor(layout: HomeLayout) -> ProcessRef | None:
    """Return the supervisor, which is whoever holds its lock, or None."""
    pid = find_holder(layout.supervisor_lock)
    process = None if pid is None else find_process(pid)
    return process if pid is not None and find_holder(layout.supervisor_lock) == pid else None


def ensure_running(
    layout: HomeLayout, ports: Ports, passwords: Mapping[str, str], *, meanwhile: Callable[[], object]
) -> bool:
    """Start the supervisor with its servers unless it runs; return whether it was started.

    Valkey has the users of these passwords afterwards, also one that runs already. A first start calls `meanwhile`
    while it waits for initdb.

    Raises:
        ServicesError: it cannot start, or runs with other ports than asked for; the message says what to do.
    """
    if find_supervisor(layout) is not None and _await_servers(layout):
        _require_ports(layout, ports)
        if _renew_users(layout, passwords):
            return False
    _start(layout, ports, passwords, meanwhile)
    if not _await_servers(layout):
        raise ServerFailedError(SUPERVISOR, "ended again at once", layout.log_file(SUPERVISOR))
    return True


def _renew_users(layout: HomeLayout, passwords: Mapping[str, str]) -> bool:
    """Have the running Valkey know these users; False if the supervisor is gone."""
    write_users(layout, passwords)
    return load_users(layout, password=passwords[REDIS_SECRET]) or _await_servers(layout)


def _start(layout: HomeLayout, ports: Ports, passwords: Mapping[str, str], meanwhile: Callable[[], object]) -> None:
    end_leftovers(layout)
    _require_free(ports)
    user = choose_user()
    hand_over(layout, user, binaries=(postgres_binary("postgres"), valkey_binary()))
    if not layout.postgres_data.exists():
        initialise_data(layout, user, password=passwords[BOOTSTRAP_SECRET], meanwhile=meanwhile)
    replace_file(layout.valkey_config, valkey_configuration(layout, ports).encode())
    give(user, layout.valkey_config)
    write_users(layout, passwords)
    _start_supervisor(layout, ports, user)


def stop_running(layout: HomeLayout) -> bool:
    """Stop the servers and the supervisor, and whatever a killed one left; return whether anything ran."""
    supervisor = find_supervisor(layout)
    if supervisor is not None:
        supervisor.send(signal.SIGTERM)
        if not supervisor.wait(_STOP_TIMEOUT_S):
            supervisor.send(signal.SIGKILL)
            supervisor.wait(_STOP_TIMEOUT_S)
    leftovers = end_leftovers(layout)
    layout.state_file.unlink(missing_ok=True)
    return supervisor is not None or leftovers > 0


def living_state(layout: HomeLayout) -> SupervisorState | None:
    """Return what the living supervisor says, or None if none lives or its file is damaged."""
    supervisor = find_supervisor(layout)
    state = find_state(layout.state_file)
    return state if supervisor is not None and state is not None and state.pid == supervisor.pid else None


def _await_servers(layout: HomeLayout) -> bool:
    """Wait until the supervisor's servers are ready; False if the supervisor is gone.

    A server that was killed is being restarted meanwhile; a damaged state file is written anew when asked for.
    """
    deadline = time.monotonic() + _START_TIMEOUT_S
    asked = False
    while (supervisor := find_supervisor(layout)) is not None:
        state = living_state(layout)
        if state is not None and are_ready(layout, state):
            return True
        if state is None and not asked:
            asked = supervisor.send(signal.SIGHUP)
        if time.monotonic() > deadline:
            raise ServerFailedError(SUPERVISOR, "has servers that do not become ready", layout.log_file(SUPERVISOR))
        time.sleep(_POLL_S)
    return False


def are_ready(layout: HomeLayout, state: SupervisorState) -> bool:
    """Return whether both servers live and answer."""
    alive = len(state.servers) == _SERVER_COUNT and all(server.process.is_alive() for server in state.servers)
    return alive and postgres_is_ready(layout.postgres_data) and valkey_is_ready(layout.redis_socket)


def _require_ports(layout: HomeLayout, ports: Ports) -> None:
    state = living_state(layout)
    running = ports if state is None else state.ports
    for option, asked, open_ in (
        ("--postgres-port", ports.postgres, running.postgres),
        ("--redis-port", ports.redis, running.redis),
    ):
        if asked is not None and asked != open_:
            raise ServicesError(f"the servers already run without {option} {asked}: `morph down` first")


def _require_free(ports: Ports) -> None:
    for option, port in (("--postgres-port", ports.postgres), ("--redis-port", ports.redis)):
        if port is None:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as error:
                raise PortTakenError(port, option) from error


def _start_supervisor(layout: HomeLayout, ports: Ports, user: SpawnUser) -> None:
    log = layout.log_file(SUPERVISOR)
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as answers, log.open("ab") as output:
        order = SupervisorOrder(str(layout.home), writer, ports, user)
        starter = subprocess.Popen(
            [sys.executable, "-m", "morph_assets.devservices.supervisor", order.to_json()],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env={"PATH": os.defpath, "PYTHONPATH": os.pathsep.join(_import_path()), "LC_ALL": "C.UTF-8"},
            pass_fds=(writer,),
            start_new_session=True,
        )
        os.close(writer)
        starter.wait()
        _require_ready(_read_answer(answers.fileno()), log)


def _import_path() -> list[str]:
    return [str(Path(entry).absolute()) for entry in sys.path]


def _read_answer(descriptor: int) -> str:
    chunks = b""
    while select.select([descriptor], [], [], _START_TIMEOUT_S)[0]:
        chunk = os.read(descriptor, 4096)
        if not chunk:
            return str(json.loads(chunks)["answer"]) if chunks else "ended without an answer"
        chunks += chunk
    return f"gave no answer in {_START_TIMEOUT_S:.0f} s"


def _require_ready(answer: str, log: Path) -> None:
    if answer not in {READY, ALREADY_RUNNING}:
        raise ServerFailedError(SUPERVISOR, answer, log)
