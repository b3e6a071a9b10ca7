"""One login's connection to the registry; the time limits are the login's own, set in the database."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString, Self, TypeVar

import psycopg
from psycopg.rows import RowFactory, class_row

from morph_assets.registry.errors import RegistryError, registry_error
from morph_assets.registry.microseconds import to_us
from morph_assets.registry.refusals import REFUSED_STATES, RefusalTeller

CONNECT_TIMEOUT_S = 2
Parameters = Sequence[Any] | Mapping[str, Any]
_Record = TypeVar("_Record")
_Row = TypeVar("_Row")


@dataclass(frozen=True)
class Claim:
    """Who acts through the login, and when by their clock: kept with each event as a claim, never as a fact."""

    actor: str = ""
    at: datetime | None = None


class Registry:
    """What one login sees and may do.

    Threads may share it: a transaction has the connection to itself. A lost connection is opened again by the next
    transaction; what was under way is lost as a whole and raises `RegistryUnavailableError`. What the database refuses
    because this login may not do it is told to the chain of refusals, once the connection is free again.
    """

    def __init__(self, url: str, *, claim: Claim = Claim()) -> None:
        self._url = url
        self._claim = claim
        self._depth = 0
        self.refusals = RefusalTeller(url)
        self._lock = threading.RLock()
        self._connection: psycopg.Connection[Any] | None = None

    @classmethod
    def open(cls, url: str) -> Self:
        """Connect as the URL's login.

        Raises:
            RegistryUnavailableError: no answer within two seconds, or the login was refused.
        """
        registry = cls(url)
        with registry._session():
            return registry

    def close(self) -> None:
        """Give the connection back; the next transaction opens another."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def server_process(self) -> int:
        """The process that serves this connection, on the server's machine."""
        with self._session() as connection:
            return connection.info.backend_pid

    @contextmanager
    def transaction(self) -> Iterator[psycopg.Connection[Any]]:
        """One transaction, committed on leaving; nested, it is a savepoint of the outer one.

        Raises:
            RegistryError: typed by what the database refused; nothing of the transaction remains.
        """
        with self._session() as connection, connection.transaction():
            yield connection

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        outermost = False
        try:
            with self._lock:
                self._depth += 1
                try:
                    yield self._connected()
                except psycopg.Error as error:
                    raise registry_error(error) from error
                finally:
                    self._depth -= 1
                    outermost = self._depth == 0
        except RegistryError as refused:
            # Not while a transaction around this call is still open: it would hold its locks meanwhile.
            if outermost and refused.sqlstate in REFUSED_STATES:
                facts = {"sqlstate": refused.sqlstate, "message": str(refused)}
                self.refusals.tell("security.access_refused", facts)
            raise

    def _connected(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                self._url,
                autocommit=True,
                prepare_threshold=None,  # automatic prepares turn a 2.6 ms search into 20 ms
                connect_timeout=CONNECT_TIMEOUT_S,
            )
            if self._claim != Claim():
                _set_claim(self._connection, self._claim)
        return self._connection

    def fetch(self, record: type[_Record], query: LiteralString, parameters: Parameters = ()) -> list[_Record]:
        """Return the rows as records; the columns are named like the fields."""
        return self.fetch_rows(class_row(record), query, parameters)

    def fetch_one(self, record: type[_Record], query: LiteralString, parameters: Parameters = ()) -> _Record | None:
        """Return the only row, or None."""
        rows = self.fetch(record, query, parameters)
        return rows[0] if rows else None

    def call(self, query: LiteralString, parameters: Parameters = ()) -> tuple[Any, ...]:
        """Return the one row of a function call: by itself a whole transaction, or a part of the one around it."""
        with self._session() as connection:
            row: tuple[Any, ...] | None = connection.execute(query, parameters).fetchone()
        if row is None:
            raise RegistryError("a registry function returned no row")
        return row

    def fetch_rows(
        self, factory: RowFactory[_Row], query: LiteralString, parameters: Parameters = (), *, binary: bool = False
    ) -> list[_Row]:
        """Return the rows as the factory makes them.

        The statement is a transaction by itself: while many rows are made here, none waits for its end over there.
        """
        with self._session() as connection, connection.cursor(row_factory=factory) as cursor:
            return cursor.execute(query, parameters, binary=binary).fetchall()


def _set_claim(connection: psycopg.Connection[Any], claim: Claim) -> None:
    moment = "" if claim.at is None else str(to_us(claim.at))
    connection.execute(
        "SELECT set_config('morph.claimed_actor', %s, false), set_config('morph.claimed_at', %s, false)",
        (claim.actor, moment),
    )
