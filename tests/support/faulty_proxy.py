"""A wire to a local server that can also end in the middle of an answer, and that counts what it carried."""

import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from morph_assets.bench.fault_wire import Wire

_CUT_AFTER_BYTES = 20_000


class FaultyProxy(Wire):
    """A wire; `cuts` ends each connection in the middle of a large answer.

    Attributes:
        down_bytes: how much was answered in all.
    """

    def __init__(self, port: int) -> None:
        self.cuts = False
        self.down_bytes = 0
        self._sent: Counter[socket.socket] = Counter()
        super().__init__(port)

    def answer(self, client: socket.socket, data: bytes) -> bool:
        """Hand a part of an answer on, or what fits before the cut."""
        if self.cuts and self._sent[client] + len(data) > _CUT_AFTER_BYTES:
            client.sendall(data[: max(0, _CUT_AFTER_BYTES - self._sent[client])])
            return False
        self._sent[client] += len(data)
        self.down_bytes += len(data)
        return super().answer(client, data)


@contextmanager
def faulty_proxy(port: int) -> Iterator[FaultyProxy]:
    """Yield a proxy to a local server."""
    proxy = FaultyProxy(port)
    try:
        yield proxy
    finally:
        proxy.stop()
