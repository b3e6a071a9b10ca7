"""A TCP proxy in front of a local server that can become slow, silent, deaf or cut off while connections are open."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

Mode = Literal["pass", "slow", "silent", "cut", "refuse"]
DELAY_S = 0.2
_CUT_AFTER_BYTES = 20_000


class FaultyProxy:
    """Carries bytes to `port`; `mode` says how, also for connections that are open already.

    slow: every answer comes 200 ms late. silent: nothing is answered. cut: a connection ends in the middle of a large
    answer. refuse: a connection ends at once.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self.mode: Mode = "pass"
        self.connections = 0
        self.down_bytes = 0
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """End every connection."""
        self._stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                self.connections += 1
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self.mode == "refuse":
                return
            with socket.create_connection(("127.0.0.1", self._server)) as server:
                upwards = threading.Thread(target=self._up, args=(client, server), daemon=True)
                upwards.start()
                self._down(server, client)
                for end in (client, server):
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                upwards.join()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self.mode == "refuse":
                    break
                if self.mode != "silent":
                    server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _down(self, server: socket.socket, client: socket.socket) -> None:
        sent = 0
        while data := server.recv(65536):
            if self.mode == "slow" and self._stopped.wait(DELAY_S):
                return
            if self.mode == "cut" and sent + len(data) > _CUT_AFTER_BYTES:
                client.sendall(data[: max(0, _CUT_AFTER_BYTES - sent)])
                return
            if self.mode != "silent":
                client.sendall(data)
            sent += len(data)
            self.down_bytes += len(data)


@contextmanager
def faulty_proxy(port: int) -> Iterator[FaultyProxy]:
    """Yield a proxy to a local server."""
    proxy = FaultyProxy(port)
    try:
        yield proxy
    finally:
        proxy.stop()
