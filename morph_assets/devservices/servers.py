"""What the supervisor runs: each server as data, and how to see that it is ready."""

import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from morph_assets.devservices.layout import HomeLayout

DEFAULT_POSTGRES_PORT = 5432
POSTGRES = "postgres"
VALKEY = "valkey"
_STATUS_LINE = 7  # of postmaster.pid, counted from zero
_PROBE_TIMEOUT_S = 1.0


@dataclass(frozen=True)
class Ports:
    """The loopback ports to open besides the sockets; None opens none."""

    postgres: int | None = None
    redis: int | None = None

    @property
    def postgres_socket_port(self) -> int:
        """The port in the socket's name: PostgreSQL uses one number for both."""
        return self.postgres or DEFAULT_POSTGRES_PORT


@dataclass(frozen=True)
class Server:
    """One server: how it starts, how it is asked to stop, and what shows that it is ready."""

    name: str
    argv: tuple[str | Path, ...]
    stop_signal: signal.Signals
    stop_timeout_s: float
    is_ready: Callable[[], bool]
    folder: Path
    log: Path


def postgres_is_ready(data: Path) -> bool:
    """Return whether the server of this data folder accepts sessions; it says so in its own pid file."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, UnicodeDecodeError):
        return False
    return len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() == "ready"


def valkey_is_ready(path: Path) -> bool:
    """Return whether Valkey answers on its socket (that it wants a password is an answer)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PROBE_TIMEOUT_S)
        try:
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"-NOAUTH", b"+PONG"))
        except OSError:
            return False


def plan_servers(layout: HomeLayout, ports: Ports, *, postgres: Path, valkey: Path) -> tuple[Server, ...]:
    """Return the servers in the order they start; they stop in the opposite order."""
    return (
        Server(
            name=POSTGRES,
            argv=(postgres, "-D", layout.postgres_data, *_postgres_options(layout, ports)),
            stop_signal=signal.SIGINT,  # fast shutdown: sessions are ended, everything is flushed
            stop_timeout_s=20.0,
            is_ready=lambda: postgres_is_ready(layout.postgres_data),
            folder=layout.postgres_data,
            log=layout.log_file(POSTGRES),
        ),
        Server(
            name=VALKEY,
            argv=(valkey, layout.valkey_config),
            stop_signal=signal.SIGTERM,
            stop_timeout_s=5.0,
            is_ready=lambda: valkey_is_ready(layout.redis_socket),
            folder=layout.valkey_data,
            log=layout.log_file(VALKEY),
        ),
    )


def _postgres_options(layout: HomeLayout, ports: Ports) -> list[str]:
    folder = str(layout.run).replace('"', '""')
    settings = {
        "listen_addresses": "127.0.0.1" if ports.postgres else "",
        "port": str(ports.postgres_socket_port),
        "unix_socket_directories": f'"{folder}"',
        "unix_socket_permissions": "0700",
        "shared_buffers": "512MB",  # taken as it is used: holds what searches of 200,000 kernels read
        "recovery_init_sync_method": "syncfs",  # a crash start in 0.2 s instead of opening every file
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_line_prefix": "%m [%p] %q%u@%d ",
    }
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


def valkey_configuration(layout: HomeLayout, ports: Ports) -> str:
    """Return Valkey's configuration: a cache, so nothing is saved; bounded; private socket; users with passwords."""
    return "\n".join(
        [
            f"port {ports.redis or 0}",
            "bind 127.0.0.1",
            f"unixsocket {_quoted(layout.redis_socket)}",
            "unixsocketperm 600",
            f"dir {_quoted(layout.valkey_data)}",
            f"aclfile {_quoted(layout.valkey_users)}",
            'save ""',
            "appendonly no",
            "maxmemory 256mb",
            "maxmemory-policy allkeys-lfu",
            "daemonize no",
            "",
        ]
    )


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
