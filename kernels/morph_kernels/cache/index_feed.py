"""What changed in Redis, as the server pushes it: the names of the blueprints whose index was written or dropped."""

from typing import Any

_GENERATION = ":generation"
_MOST_PUSHES = 1000


class IndexFeed:
    """A connection of its own on which Redis tells of every change below a prefix, from the moment it is made.

    Whatever changed before, or between two feeds, nobody tells: who opens one takes everything for changed.
    """

    def __init__(self, connection: Any, prefix: str, *, answer_s: float) -> None:
        """Ask for the pushes, on a RESP3 connection that nobody else uses; raises what the client library raises."""
        self._connection, self._prefix, self._answer_s = connection, prefix, answer_s
        self._told: set[str] = set()
        self._everything = False
        connection.connect()
        # The library has no public way to hear these pushes outside its own cache, which refuses Valkey.
        connection._parser.set_invalidation_push_handler(self._take)  # noqa: SLF001 - see above
        connection.send_command("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", prefix)
        connection.read_response()

    def read(self, wait_s: float) -> frozenset[str] | None:
        """Return the names that changed, none where nothing did in this time, or None where anything may have.

        A server that was still is asked whether it lives; where it does not, the client library raises.
        """
        if self._connection.can_read(timeout=wait_s):
            self._drain()
        else:
            self._connection.send_command("PING")
            self._connection.read_response(timeout=self._answer_s)
        told, everything = frozenset(self._told), self._everything
        self._told.clear()
        self._everything = False
        return None if everything else told

    def close(self) -> None:
        """End the connection; a thread that reads from it goes on at once."""
        self._connection.disconnect()

    def _drain(self) -> None:
        for _ in range(_MOST_PUSHES):  # a burst costs its reader one round, an endless one does not hold it
            self._connection.read_response(push_request=True, timeout=self._answer_s)
            if not self._connection.can_read(timeout=0):
                return

    def _take(self, push: list[Any]) -> None:
        if push[1] is None:  # flushed
            self._everything = True
            return
        names = (bytes(key).decode(errors="replace").removeprefix(self._prefix) for key in push[1])
        self._told.update(name.removesuffix(_GENERATION) for name in names)
