"""The benchmark's end of the load server."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from morph_assets.bench.load_server import LoadOrder, LoadReply
from morph_kernels.errors import MorphError


class LoadServerError(MorphError):
    """The process that loads for a benchmark ended."""


@dataclass(frozen=True)
class LoadClient:
    """Has loads carried out by processes that are forked from one."""

    process: subprocess.Popen[str]
    log: Path

    def load(self, order: LoadOrder) -> LoadReply:
        """Return how one load went."""
        return self.load_together([order])[0]

    def load_together(self, orders: Sequence[LoadOrder]) -> list[LoadReply]:
        """Return how loads went that began at the same time.

        Raises:
            LoadServerError: the server is gone.
        """
        told, answered = self.process.stdin, self.process.stdout
        if told is None or answered is None:
            raise LoadServerError("the load server has no pipes")
        told.write(json.dumps([asdict(order) for order in orders]) + "\n")
        told.flush()
        line = answered.readline()
        if not line:
            raise LoadServerError(f"the load server ended: {self.log.read_text(errors='replace')[-1000:]}")
        return [LoadReply(**reply) for reply in json.loads(line)]


@contextmanager
def open_load_client(folder: Path, interposer: Path) -> Iterator[LoadClient]:
    """Start a load server with the interposer before all other libraries.

    Raises:
        LoadServerError: it does not start.
    """
    log = folder / "load_server.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MORPH_")}
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "LD_PRELOAD": str(interposer)}
    command = [sys.executable, "-m", "morph_assets.bench.load_server"]
    with (
        log.open("w") as errors,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        client = LoadClient(process, log)
        try:
            if process.stdout is None or not process.stdout.readline():
                raise LoadServerError(f"the load server did not start: {log.read_text(errors='replace')[-1000:]}")
            yield client
        finally:
            process.kill()
