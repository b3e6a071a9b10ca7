"""Servers of one benchmark: a Valkey, and a SeaweedFS where its wheel is installed. They end with the benchmark."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from morph_assets.bench.fault_wire import free_ports
from morph_assets.devservices.binaries import valkey_binary
from morph_assets.devservices.errors import ServicesError
from morph_assets.devservices.process import SERVER_ENVIRONMENT, SpawnUser, spawn

_READY_S = 60.0
_WEED_PORTS = tuple(
    f"{server}.port{kind}" for server in ("master", "volume", "filer", "s3", "admin") for kind in ("", ".grpc")
)


@dataclass(frozen=True)
class RedisServer:
    """A Valkey that wants a password."""

    port: int
    password: str = field(repr=False)

    def url(self, *, port: int | None = None, password: str | None = None) -> str:
        """Return what settings name; through another port, or with another password, if asked to."""
        return f"redis://:{password or self.password}@127.0.0.1:{port or self.port}/0"

    def client(self) -> Any:
        """Return a client, to plant and to look."""
        import redis

        return redis.Redis(port=self.port, password=self.password)


@dataclass(frozen=True)
class S3Server:
    """A SeaweedFS and its one login."""

    port: int
    access_key_id: str
    secret_access_key: str = field(repr=False)

    def url(self, prefix: str, *, port: int | None = None, secret: str | None = None) -> str:
        """Return a store's URL; through another port, or with another secret, if asked to."""
        query = {
            "endpoint": f"http://127.0.0.1:{port or self.port}",
            "allow_http": "true",
            "access_key_id": self.access_key_id,
            "secret_access_key": secret or self.secret_access_key,
        }
        return f"s3://morph/{prefix}?{urlencode(query)}"


@contextmanager
def open_redis(folder: Path) -> Iterator[RedisServer]:
    """Start a Valkey that keeps nothing on disk.

    Raises:
        ServicesError: it does not start.
    """
    server = RedisServer(free_ports(1)[0], secrets.token_hex(16))
    options = {"port": server.port, "bind": "127.0.0.1", "requirepass": server.password, "save": ""}
    command = [str(valkey_binary()), *(word for name, value in options.items() for word in (f"--{name}", str(value)))]

    def answers() -> bool:
        import redis

        try:
            return bool(server.client().ping())
        except redis.exceptions.ConnectionError:
            return False

    with _running(command, folder, "valkey", answers):
        yield server


@contextmanager
def open_s3(folder: Path) -> Iterator[S3Server | None]:
    """Start a SeaweedFS; None where its wheel is not installed.

    Raises:
        ServicesError: it does not start.
    """
    weed = shutil.which("weed", path=os.pathsep.join((str(Path(sys.executable).parent), os.defpath)))
    if weed is None:
        yield None
        return
    ports = dict(zip(_WEED_PORTS, free_ports(len(_WEED_PORTS)), strict=True))
    server = S3Server(ports["s3.port"], secrets.token_hex(8), secrets.token_hex(16))
    data = folder / "weed"
    data.mkdir()
    fixed = {"dir": data, "ip": "127.0.0.1", "ip.bind": "127.0.0.1", "bucket": "morph", "master.telemetry": "false"}
    fixed |= {"admin.ui": "false", "webdav": "false", "s3.port.iceberg": 0, "s3.port.lance": 0}
    fixed |= {"s3.localSocket": data / "s3.sock", "filer.localSocket": data / "filer.sock"}
    command = [weed, "mini", *(f"-{name}={value}" for name, value in (fixed | ports).items())]
    environment = {
        **SERVER_ENVIRONMENT,
        "HOME": str(data),
        "TMPDIR": str(data),
        "GOMEMLIMIT": "150MiB",
        "AWS_ACCESS_KEY_ID": server.access_key_id,
        "AWS_SECRET_ACCESS_KEY": server.secret_access_key,
    }

    def answers() -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{server.port}/healthz", timeout=1):
                return True
        except OSError:
            return False

    try:
        with _running(command, folder, "weed", answers, environment):
            yield server
    finally:
        for port in ports.values():
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 - not our choice
                left.unlink(missing_ok=True)


@contextmanager
def _running(
    command: list[str],
    folder: Path,
    name: str,
    answers: Callable[[], bool],
    environment: dict[str, str] | None = None,
) -> Iterator[None]:
    log = folder / f"{name}.log"
    process: subprocess.Popen[bytes] = spawn(
        command,
        user=SpawnUser(),
        death_signal=signal.SIGKILL,
        folder=folder,
        log=log,
        environment=environment or SERVER_ENVIRONMENT,
    )
    try:
        deadline = time.monotonic() + _READY_S
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise ServicesError(f"{name} did not start: {log.read_text(errors='replace')[-500:]}")
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()
