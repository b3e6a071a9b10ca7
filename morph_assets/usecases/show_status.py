"""Says what runs in a home, as the kernel sees it."""

from dataclasses import dataclass
from pathlib import Path

from morph_assets.devservices.launch import SUPERVISOR, find_supervisor, living_state
from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.servers import POSTGRES, VALKEY, postgres_is_ready, valkey_is_ready
from morph_assets.devservices.supervisor_state import RunningServer, SupervisorState


@dataclass(frozen=True)
class ServiceStatus:
    """One process: `ready`, `starting` or `stopped`; times are UTC, ISO 8601."""

    name: str
    state: str
    pid: int | None = None
    since: str | None = None
    restarts: int = 0
    address: str = ""

    @property
    def is_ready(self) -> bool:
        """Whether it can be used now."""
        return self.state == "ready"


def show_status(home: Path) -> tuple[ServiceStatus, ...]:
    """Return the state of the supervisor and of both servers."""
    layout = HomeLayout(home)
    supervisor = find_supervisor(layout)
    state = living_state(layout)
    postgres, valkey = (state.server(POSTGRES), state.server(VALKEY)) if state else (None, None)
    return (
        ServiceStatus(SUPERVISOR, "ready" if supervisor else "stopped", pid=supervisor.pid if supervisor else None),
        _status(POSTGRES, postgres, ready=postgres_is_ready(layout.postgres_data), address=_postgres(layout, state)),
        _status(VALKEY, valkey, ready=valkey_is_ready(layout.redis_socket), address=_valkey(layout, state)),
    )


def _status(name: str, server: RunningServer | None, *, ready: bool, address: str) -> ServiceStatus:
    if server is None or not server.process.is_alive():
        return ServiceStatus(name, "stopped")
    return ServiceStatus(
        name,
        "ready" if ready else "starting",
        pid=server.pid,
        since=server.started_at,
        restarts=server.restarts,
        address=address,
    )


def _postgres(layout: HomeLayout, state: SupervisorState | None) -> str:
    if state is None:
        return ""
    tcp = f", 127.0.0.1:{state.ports.postgres}" if state.ports.postgres else ""
    return f"{layout.postgres_socket(state.ports.postgres_socket_port)}{tcp}"


def _valkey(layout: HomeLayout, state: SupervisorState | None) -> str:
    tcp = f", 127.0.0.1:{state.ports.redis}" if state and state.ports.redis else ""
    return f"{layout.redis_socket}{tcp}"
