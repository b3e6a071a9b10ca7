"""What the supervisor is told, and what it says about itself in a file that may be found damaged."""

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from morph_assets.devservices.process import ProcessRef, SpawnUser
from morph_assets.devservices.servers import Ports
from morph_kernels.durable_file import replace_file

# What the supervisor answers its launcher; anything else is what went wrong.
READY = "ready"
ALREADY_RUNNING = "already running"
_FORMAT = 1


@dataclass(frozen=True)
class SupervisorOrder:
    """What the launcher tells the supervisor: its only argument, as JSON."""

    home: str
    ready_fd: int
    ports: Ports
    user: SpawnUser

    def to_json(self) -> str:
        """Return the argument."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "SupervisorOrder":
        """Return the order that an argument holds."""
        document = json.loads(text)
        user = SpawnUser(wrapper=tuple(document["user"]["wrapper"]), uid=document["user"]["uid"])
        return cls(document["home"], document["ready_fd"], Ports(**document["ports"]), user)


@dataclass(frozen=True)
class RunningServer:
    """One server process and since when it runs (UTC, ISO 8601)."""

    name: str
    pid: int
    start_ticks: int
    started_at: str
    restarts: int = 0

    @property
    def process(self) -> ProcessRef:
        """The process itself, safe against a reused pid."""
        return ProcessRef(self.pid, self.start_ticks)


@dataclass(frozen=True)
class SupervisorState:
    """The supervisor's servers and the ports they were started with."""

    pid: int
    ports: Ports
    servers: tuple[RunningServer, ...] = ()

    def server(self, name: str) -> RunningServer | None:
        """Return the named server, or None."""
        return next((server for server in self.servers if server.name == name), None)


def utc_now() -> str:
    """Return the present moment, UTC, ISO 8601 with its offset."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def write_state(path: Path, state: SupervisorState) -> None:
    """Store the state, whole or not at all."""
    replace_file(path, json.dumps({"format": _FORMAT} | asdict(state), indent=1).encode())


def find_state(path: Path) -> SupervisorState | None:
    """Return the stored state; None if there is none or it is damaged."""
    try:
        document = json.loads(path.read_bytes())
        if document.pop("format") != _FORMAT:
            return None
        ports = Ports(**document.pop("ports"))
        servers = tuple(RunningServer(**entry) for entry in document.pop("servers"))
        return SupervisorState(ports=ports, servers=servers, **document)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
