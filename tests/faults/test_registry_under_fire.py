"""All operations of the registry at once, by several clients, while PostgreSQL is killed again and again.

A short storm here; `make soak` runs a long one (MORPH_SOAK_S seconds, MORPH_SOAK_SEED to repeat its choices).
"""

import os
import secrets
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from morph_assets.registry.connection import Registry
from morph_assets.registry.migrate import ROLES, migrate
from morph_assets.registry.tenants import create_tenant, login_name, set_quota
from tests.support.fire_client import FireClient, Heard
from tests.support.fire_invariants import assert_whole
from tests.support.fire_operations import OPERATIONS
from tests.support.killable_postgres import KillablePostgres
from tests.support.legal_calls import LEGAL_CALLS

pytestmark = pytest.mark.slow
CLIENTS = 5
OPERATIONS_A_ROUND = 250
ROUNDS, SHORT_STORM_S = 6, 12.0
PATIENCE_S = 60.0
ROOM = {"blueprints": 2, "kernels": 3, "blob_bytes": 700_000, "checkpoints": 15, "builds_per_day": 25}


@pytest.fixture(scope="module")
def server():
    folder = Path(tempfile.mkdtemp(prefix="morph-", dir="/tmp"))
    postgres = KillablePostgres(folder / ".morph")
    postgres.start()
    yield postgres
    postgres.end(signal.SIGQUIT)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def logins(server):
    """The URLs of a tenant's logins, by role; limits come with each round."""
    url, password = server.url(), secrets.token_hex(8)
    migrate(url)
    create_tenant(url, "fire", dict.fromkeys(ROLES, password))
    return {role: _as(url, login_name("fire", role), password) for role in ROLES}


def _as(url, login, password):
    return make_conninfo(url, user=login, password=password)


def allow_a_little_more(server, heard):
    """Leave room for some more of each resource, so that every round reaches limits and none only meets them."""
    with psycopg.connect(server.url()) as superuser:
        used = superuser.execute("SELECT resource, used FROM morph.quota WHERE tenant = 'fire'").fetchall()
    for resource, amount in used:
        heard.memory.limits[resource] = amount + ROOM[resource]
        set_quota(server.url(), "fire", resource, amount + ROOM[resource])


def rage(logins, heard, seed, number):
    """Start clients; return, with what stops them, once they have called often enough."""
    stop = threading.Event()
    before = heard.answered()
    clients = [FireClient((seed, number, client), logins, heard, stop) for client in range(CLIENTS)]
    for client in clients:
        client.start()
    deadline = time.monotonic() + PATIENCE_S
    while heard.answered() < before + OPERATIONS_A_ROUND:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return stop, clients


def calm(server, stop, clients, way):
    """Kill the server in one of three ways while the clients call, and bring it back."""
    if way == "backend":
        server.kill_a_backend()
        stop.set()
    else:
        server.end(signal.SIGKILL if way == "kill" else signal.SIGQUIT)
        stop.set()
        server.start()
    for client in clients:
        client.join(PATIENCE_S)
        assert not client.is_alive()


def undone(heard):
    return set(OPERATIONS) - {function for function, outcome in heard.outcomes if outcome == "done"}


def test_under_fire_nothing_acknowledged_is_lost_and_every_rule_holds(server, logins):
    seed = os.environ.get("MORPH_SOAK_SEED", "1")
    end = time.monotonic() + float(os.environ.get("MORPH_SOAK_S", SHORT_STORM_S))
    heard, events, ways = Heard(), [0], ("kill", "immediate", "backend")
    # On a busy machine fewer calls fit into the storm: it goes on until each function was called with success.
    while time.monotonic() < end or len(events) <= ROUNDS or (undone(heard) and time.monotonic() < end + PATIENCE_S):
        number = len(events)
        allow_a_little_more(server, heard)
        calm(server, *rage(logins, heard, seed, number), ways[number % len(ways)])
        with Registry.open(logins["auditor"]) as auditor:
            events.append(assert_whole(server.url(), auditor, "fire", heard))
    assert events == sorted(set(events))  # each round added to the log
    assert undone(heard) == set(), heard.outcomes


def test_every_function_that_a_login_may_call_is_among_the_operations():
    assert set(OPERATIONS) == set(LEGAL_CALLS)
