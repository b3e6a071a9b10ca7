"""A TCP proxy that lets a bounded number of request bytes through and then cuts every connection."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def cutting_proxy(port: int, *, after_bytes: int) -> Iterator[int]:
    """Yield the port of a proxy to a local server that cuts once `after_bytes` went upwards, and from then on."""
    left = [after_bytes]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_accept, args=(listener, port, left))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(listener: socket.socket, port: int, left: list[int]) -> None:
    # The listener's shutdown ends the loop; a connection cut by either side only ends itself.
    with suppress(OSError):
        while True:
            client = listener.accept()[0]
            threading.Thread(target=_carry, args=(client, port, left)).start()


def _carry(client: socket.socket, port: int, left: list[int]) -> None:
    with client, socket.create_connection(("127.0.0.1", port)) as server:
        downwards = threading.Thread(target=_pump, args=(server, client, [1 << 60]))
        downwards.start()
        _pump(client, server, left)
        downwards.join()


def _pump(source: socket.socket, sink: socket.socket, left: list[int]) -> None:
    with suppress(OSError):
        while data := source.recv(min(65536, max(left[0], 0)) or 1):
            if left[0] <= 0:
                break
            sink.sendall(data[: left[0]])
            left[0] -= len(data)
            if left[0] <= 0:
                break
    for end in (source, sink):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
