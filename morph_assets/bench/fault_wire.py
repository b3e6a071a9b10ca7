"""A wire to a local server that can be slow, silent or cut, and a port that never answers who connects."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Literal

WireMode = Literal["pass", "slow", "silent", "refuse"]
DELAY_S = 0.2


class Wire:
    """Carries bytes to a local port; `mode` says how, also for connections that are open already.

    slow: every answer comes 200 ms late. silent: connected, and nothing is ever answered. refuse: a connection ends at
    once.
    """

    def __init__(self, server_port: int) -> None:
        self.mode: WireMode = "pass"
        self._server_port = server_port
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """Take no connection any more."""
        self._stopped.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            if self.mode == "refuse":
                return
            with socket.create_connection(("127.0.0.1", self._server_port)) as server:
                upwards = threading.Thread(target=self._ask, args=(client, server), daemon=True)
                upwards.start()
                while (data := server.recv(65536)) and self.answer(client, data):
                    pass
                for end in (client, server):
                    with suppress(OSError):
                        end.shutdown(socket.SHUT_RDWR)
                upwards.join()

    def _ask(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self.mode == "refuse":
                    break
                if self.mode != "silent":
                    server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def answer(self, client: socket.socket, data: bytes) -> bool:
        """Hand a part of an answer on as the mode says; return whether the connection goes on."""
        if self.mode == "slow" and self._stopped.wait(DELAY_S):
            return False
        if self.mode != "silent":
            client.sendall(data)
        return True


@contextmanager
def open_wire(server_port: int) -> Iterator[Wire]:
    """Yield a wire to a local server."""
    wire = Wire(server_port)
    try:
        yield wire
    finally:
        wire.stop()


@contextmanager
def open_deaf_port() -> Iterator[int]:
    """Yield a port whose queue is full: who connects hears nothing, as of a host behind a black hole."""
    with ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for _ in range(4):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    with ExitStack() as held:
        listeners = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(listener.getsockname()[1]) for listener in listeners]
