"""What changed in Redis, as whoever writes an index tells it: the names of the blueprints whose index was written."""

from typing import Any

_MOST_PUSHES = 1000


class IndexFeed:
    """A connection of its own on which a tenant's channel tells of every index that is written, once it is made.

    Whatever changed before, or between two feeds, nobody tells: who opens one takes everything for changed.
    """

    def __init__(self, connection: Any, channel: str, *, answer_s: float) -> None:
        """Listen, on a RESP3 connection that nobody else uses; raises what the client library raises."""
        self._connection, self._answer_s = connection, answer_s
        connection.connect()
        connection.send_command("SUBSCRIBE", channel)
        connection.read_response(push_request=True)  # the answer is a push itself

    def read(self, wait_s: float) -> frozenset[str]:
        """Return the names that changed, none where nothing did in this time.

        A server that was still is asked whether it lives; where it does not, the client library raises.
        """
        told: set[str] = set()
        if not self._connection.can_read(timeout=wait_s):
            self._connection.send_command("PING")
        for _ in range(_MOST_PUSHES):  # a burst costs its reader one round, an endless one does not hold it
            answer = self._connection.read_response(push_request=True, timeout=self._answer_s)
            match answer:
                case [b"message", _, bytes(name)]:
                    told.add(name.decode(errors="replace"))
            if not self._connection.can_read(timeout=0):
                break
        return frozenset(told)

    def close(self) -> None:
        """End the connection; a thread that reads from it goes on at once."""
        self._connection.disconnect()
