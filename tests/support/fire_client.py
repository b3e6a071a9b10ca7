"""Clients that call random functions as the right logins, and remember what the server said it had done."""

import random
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg

from morph_assets.registry.errors import RegistryBusyError, RegistryError, RegistryUnavailableError, registry_error
from tests.support.fire_operations import OPERATIONS, Memory, World
from tests.support.legal_calls import LEGAL_CALLS, call

_HEAD = "SELECT seq, hash FROM morph.chain_head"
_LEASED = {"acquire_lease": "p_name", "open_run": "p_run"}


@dataclass(frozen=True)
class Acknowledged:
    """What one committed transaction knew: the head of the chain, or the number of the event that it appended."""

    function: str
    seq: int
    hash: bytes | None


@dataclass
class Heard:
    """What all clients heard, over all rounds."""

    memory: Memory = field(default_factory=Memory)
    acknowledged: list[Acknowledged] = field(default_factory=list)
    epochs: list[tuple[str, int]] = field(default_factory=list)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    unexpected: list[str] = field(default_factory=list)

    def answered(self) -> int:
        """Return how many calls the server answered, whatever the answer."""
        return sum(count for (_, outcome), count in self.outcomes.items() if outcome != "RegistryUnavailableError")


class FireClient(threading.Thread):
    """One client: a connection a role, one random call after the other until it is told to stop."""

    def __init__(
        self, place: tuple[str, int, int], urls: Mapping[str, str], heard: Heard, stop: threading.Event
    ) -> None:
        """`place` is the storm's seed, the round and the number of the client: what follows from it can be repeated."""
        super().__init__(name=f"client-{place}")
        self._rng = random.Random(str(place))  # noqa: S311  # choices that can be repeated
        self._world = World(self._rng, heard.memory, "fire", place[1])
        self._urls, self._heard, self._stopped = urls, heard, stop
        self._connections: dict[str, psycopg.Connection[Any]] = {}

    def run(self) -> None:
        """Call and call."""
        weights = [weight for weight, _ in OPERATIONS.values()]
        while not self._stopped.is_set():
            (function,) = self._rng.choices(list(OPERATIONS), weights)
            self._attempt(function, self._rng.choice(sorted(LEGAL_CALLS[function].roles)))
        for connection in self._connections.values():
            connection.close()

    def _attempt(self, function: str, role: str) -> None:
        values = OPERATIONS[function][1](self._world)
        try:
            self._call(function, role, values)
        except psycopg.Error as error:
            known = registry_error(error)
            self._heard.outcomes[function, type(known).__name__] += 1
            if type(known) is RegistryError or error.sqlstate == "40P01":  # untyped, or two lock orders
                self._heard.unexpected.append(f"{function} as {role}: {error.sqlstate} {error}")
            if isinstance(known, RegistryUnavailableError | RegistryBusyError):
                self._connections.pop(role).close() if role in self._connections else None
                self._stopped.wait(0.01)
        else:
            self._heard.outcomes[function, "done"] += 1

    def _call(self, function: str, role: str, values: dict[str, Any]) -> None:
        connection = self._connected(role)
        head = None
        with connection.transaction():
            said = connection.execute(call(function, **{name: f"%({name})s" for name in values}), values).fetchall()
            if role != "trainer":
                head = connection.execute(_HEAD).fetchone()
        # Only now it is acknowledged.
        if head is not None:
            self._heard.acknowledged.append(Acknowledged(function, *head))
        elif function in {"commit_checkpoint", "record_restore"}:
            self._heard.acknowledged.append(Acknowledged(function, said[0][0], None))
        if said:
            self._remember(function, values, said[0][0])

    def _connected(self, role: str) -> psycopg.Connection[Any]:
        if role not in self._connections:
            self._connections[role] = psycopg.connect(
                self._urls[role], autocommit=True, connect_timeout=2, cursor_factory=psycopg.ClientCursor
            )
        return self._connections[role]

    def _remember(self, function: str, values: dict[str, Any], said: Any) -> None:
        memory = self._heard.memory
        if function in _LEASED and said is not None:
            name = values[_LEASED[function]] if function == "acquire_lease" else f"run/{values['p_run']}"
            memory.leases[name] = (values["p_holder"], said)
            self._heard.epochs.append((name, said))
        elif function == "move_alias":
            memory.versions[values["p_name"], values["p_alias"]] = said
        elif function in {"commit_checkpoint", "move_head", "fork_branch"}:
            memory.heads[values["p_run"], values["p_branch"]] = values["p_checkpoint"]
        elif function == "raise_index":
            memory.generations[values["p_name"]] = said
        elif function == "advance_relay" and said:
            memory.relays[values["p_relay"]] = values["p_seq"]
        elif function in {"retire_kernel", "begin_purge", "record_report"}:
            memory.led.setdefault(function, []).append(values["p_kernel"])
        elif function == "set_policy":
            memory.policies[values["p_name"]] = said
        elif function == "lower_quota":
            memory.limits[values["p_resource"]] = values["p_limit"]
