"""A PostgreSQL of a test's own that it may kill and start again; no supervisor is in between."""

import contextlib
import os
import secrets
import signal
import subprocess
import time
from pathlib import Path

import psycopg

from morph_assets.devservices.binaries import postgres_binary
from morph_assets.devservices.home import fill_home, make_home
from morph_assets.devservices.postgres import BOOTSTRAP_LOGIN, database_url, initialise_data
from morph_assets.devservices.process import spawn
from morph_assets.devservices.servers import Ports, plan_servers
from morph_assets.devservices.spawn_user import choose_user, hand_over

PATIENCE_S = 30.0


class KillablePostgres:
    """A data folder, and the server that runs over it between `start` and `end`."""

    def __init__(self, home: Path) -> None:
        self._layout = make_home(home)
        fill_home(self._layout)
        self._user = choose_user()
        binary = postgres_binary("postgres")
        hand_over(self._layout, self._user, binaries=(binary,))
        self._password = secrets.token_hex(8)
        initialise_data(self._layout, self._user, password=self._password, meanwhile=lambda: None)
        (self._server, _) = plan_servers(self._layout, Ports(), postgres=binary, valkey=binary)
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres") -> str:
        """Return the superuser's URL of a database."""
        port = Ports().postgres_socket_port
        return database_url(self._layout, port=port, login=BOOTSTRAP_LOGIN, password=self._password, database=database)

    def start(self) -> None:
        """Start the server and return once it answers; what a killed one left running is waited for."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            self._process = spawn(
                self._server.argv,
                user=self._user,
                death_signal=signal.SIGQUIT,
                folder=self._server.folder,
                log=self._server.log,
            )
            if self._answers(deadline):
                return
            assert time.monotonic() < deadline, self._server.log.read_text()[-2000:]

    def _answers(self, deadline: float) -> bool:
        assert self._process is not None
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return True
        return False

    def kill_a_backend(self) -> None:
        """Kill one client's process: the server ends all the others and recovers by itself; return when it answers."""
        deadline = time.monotonic() + PATIENCE_S
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url(), autocommit=True) as witness:
            (victim,) = witness.execute(
                """SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
                   ORDER BY state = 'active' DESC LIMIT 1"""
            ).fetchone()
            os.kill(victim, signal.SIGKILL)
            while time.monotonic() < deadline:  # until the crash has reached the witness too
                witness.execute("SELECT pg_sleep(0.01)")
        assert self._answers(deadline)

    def end(self, number: signal.Signals) -> None:
        """Send the postmaster a signal and wait until it has ended: SIGKILL, SIGQUIT (at once), SIGINT (in order)."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_S)
            self._process = None
