"""A real Valkey for tests that stop, kill or poison it, apart from the session's."""

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from morph_assets.devservices.binaries import valkey_binary
from tests.support.seaweedfs import free_ports


@dataclass
class Valkey:
    """One server on a port of its own; it keeps nothing on disk."""

    folder: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.port = self.port or free_ports(1)[0]

    @property
    def url(self) -> str:
        """What a loader's settings name."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and return once it answers."""
        command = [str(valkey_binary()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        log = (self.folder / "valkey.log").open("ab")
        with log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        retry = redis.Redis(port=self.port, retry=redis.retry.Retry(redis.backoff.ConstantBackoff(0.02), 500))
        retry.ping()
        retry.close()

    def client(self) -> Any:
        """Return a client, for looking and for planting."""
        return redis.Redis(port=self.port)

    def stop(self) -> None:
        """End it, whatever state it is in."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.process.kill()
            self.process.wait()


@pytest.fixture(scope="session")
def session_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """One server for all tests that only fill it."""
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def valkey(session_valkey: Valkey) -> Valkey:
    """An empty server."""
    session_valkey.client().flushall()
    return session_valkey
