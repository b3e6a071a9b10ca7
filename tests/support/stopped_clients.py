"""Client processes that stop (SIGSTOP) in the middle of what they do, and databases in which they do it."""

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

STOPPED_WAIT_S = 20.0
# Not an answer: the lock was not to be had in time.
_BUSY = {"55P03", "57014"}


def in_database(url: str, database: str) -> str:
    """Return the URL of the same login in another database."""
    return make_conninfo(url, dbname=database)


@contextmanager
def copies_of(admin_url: str, template: str, names: Sequence[str]) -> Iterator[None]:
    """Copies of a database to which nobody is connected; logins are the server's and work in each."""
    with psycopg.connect(in_database(admin_url, "postgres"), autocommit=True) as connection:
        for name in names:
            copied = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            connection.execute(copied.format(sql.Identifier(name), sql.Identifier(template)))
        yield
        for name in names:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@dataclass(frozen=True)
class StoppedClient:
    """A process that waits for its turn."""

    pid: int
    turn: Event

    def go(self) -> None:
        """Let it work; return when it has stopped itself."""
        self.turn.set()
        wait_until_stopped(self.pid)


def _work(url: str, turn: Event, statements: Sequence[str], facts: Mapping[str, Any], *, sent_only: bool) -> None:
    connection = psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor)
    turn.wait()
    if sent_only:
        (statement,) = statements
        connection.pgconn.send_query(psycopg.ClientCursor(connection).mogrify(statement, facts).encode())
        while connection.pgconn.flush():
            pass
    else:
        connection.execute("BEGIN")
        for statement in statements:
            connection.execute(statement, facts)
    os.kill(os.getpid(), signal.SIGSTOP)


@contextmanager
def stopped_client(
    url: str, statements: Sequence[str], facts: Mapping[str, Any], *, sent_only: bool = False
) -> Iterator[StoppedClient]:
    """A process that, told to go, says the statements in one transaction and is stopped before it commits.

    With `sent_only` it sends one statement, by itself a transaction, and reads no answer.
    """
    context = multiprocessing.get_context("fork")
    turn = context.Event()
    process = context.Process(target=_work, args=(url, turn, statements, facts), kwargs={"sent_only": sent_only})
    process.start()
    try:
        yield StoppedClient(process.pid, turn)
    finally:
        process.kill()
        process.join()


def wait_until_stopped(pid: int) -> None:
    """Wait until the process is stopped; it must not end instead."""
    deadline = time.monotonic() + STOPPED_WAIT_S
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WUNTRACED | os.WNOHANG)
        if found:
            assert os.WIFSTOPPED(status), status
            return
        time.sleep(0.005)
    raise TimeoutError(pid)


def delay_of(url: str, statement: str, facts: Mapping[str, Any], *, patience_s: float = 12.0) -> float:
    """Return for how many seconds somebody else who keeps trying gets no answer but that a lock is taken."""
    began = time.monotonic()
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        while time.monotonic() < began + patience_s:
            try:
                connection.execute("BEGIN")
                connection.execute(statement, facts)
            except psycopg.Error as refused:
                if refused.sqlstate not in _BUSY:
                    break
            else:
                break
            finally:
                connection.execute("ROLLBACK")
    return time.monotonic() - began
