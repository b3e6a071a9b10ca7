"""A client stopped (SIGSTOP) at any statement of any operation holds the others up for at most three seconds."""

import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from uuid import uuid4

import psycopg
import pytest

from morph_assets.registry.migrate import ROLES, migrate
from tests.support.hostile_ground import live
from tests.support.legal_calls import LEGAL_CALLS, call
from tests.support.registry import TestTenant, digest_of, document_of
from tests.support.services import bootstrap_url
from tests.support.stopped_clients import copies_of, delay_of, in_database, stopped_client

pytestmark = [pytest.mark.slow, pytest.mark.timed]
LIMIT_S = 3.0
FENCED = call("fence")
# What the use cases say within one transaction; every other operation is one call.
LONGER = {
    "register_build after its fence": ("compiler", (FENCED,), call("record_build")),
    "register_build before its commit": ("compiler", (FENCED, call("record_build")), call("record_build")),
    "evaluate_kernel after its fence": ("evaluator", (FENCED,), call("record_report")),
    "evaluate_kernel before its commit": ("evaluator", (FENCED, call("record_report")), call("record_report")),
}
READING = {
    *("current_tenant", "current_timeline", "require_quota", "read_index", "anchor_heads", "seq_at", "trace_lineage"),
    *("impact_of", "search_kernels", "live_blobs", "kernel_uses", "find_checkpoints", "checkpoint_blobs"),
}
STEPS = {f: (min(legal.roles), (call(f),), call(f)) for f, legal in LEGAL_CALLS.items() if f not in READING} | LONGER
PLACES = 8


@pytest.fixture(scope="module")
def places(running_services):
    """The logins of a tenant that lived, in several copies of its database, and what there is in each."""
    name = f"stopped_{secrets.token_hex(4)}"
    with psycopg.connect(bootstrap_url(running_services, "postgres"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = bootstrap_url(running_services, name)
    migrate(url)
    tenant = TestTenant(url, f"t{uuid4().hex[:12]}")
    with psycopg.connect(url, autocommit=True) as superuser:
        facts = live(tenant, superuser) | {"unknown": digest_of("nobody knows"), "nobody": uuid4()}
    logins = {role: tenant.url(role) for role in ROLES}
    tenant.close()
    copies = [f"{name}_{number}" for number in range(PLACES)]
    with copies_of(url, name, copies):
        yield [{role: in_database(logins[role], copy) for role in ROLES} for copy in copies], facts


def delays(places, *, sent_only):
    """Stop a client at every step, in several databases at once; return how long the others waited behind each."""
    logins, facts = places
    steps = [step for step in STEPS if not sent_only or step not in LONGER]

    def wait_behind(step, place, client):
        role, _, other = STEPS[step]
        client.go()
        with ThreadPoolExecutor(1) as beside:
            told = beside.submit(delay_of, place["platform"], call("tell_artifact"), facts)
            return max(delay_of(place[role], other, facts), told.result())

    waited = {}
    for first in range(0, len(steps), PLACES):
        batch = list(zip(steps[first : first + PLACES], logins, strict=False))
        with ExitStack() as stopped:
            clients = []
            for step, place in batch:
                role, statements, _ = STEPS[step]
                client = stopped_client(place[role], statements, facts, sent_only=sent_only)
                clients.append(stopped.enter_context(client))
            with ThreadPoolExecutor(PLACES) as pool:
                waits = pool.map(wait_behind, *zip(*batch, strict=True), clients)
                waited |= dict(zip(steps[first:], waits, strict=False))
    assert set(waited) == set(steps)
    return waited


def test_a_client_stopped_within_a_transaction_delays_nobody_for_longer(places):
    waited = delays(places, sent_only=False)
    assert {step: waited_s for step, waited_s in waited.items() if waited_s > LIMIT_S} == {}
    # Else nothing was held.
    assert {step for step, waited_s in waited.items() if waited_s > 1.0} >= {"publish_kernel", "commit_checkpoint"}


def test_a_client_stopped_before_it_reads_the_answer_delays_nobody_for_longer(places):
    waited = delays(places, sent_only=True)
    assert {step: waited_s for step, waited_s in waited.items() if waited_s > LIMIT_S} == {}


def test_a_client_stopped_before_it_reads_a_long_index_delays_nobody_for_longer(tenant):
    digest, document = document_of("x" * 2_000_000)
    submit = "SELECT morph.submit_blueprint('long', %s, %s, '{}', 'ada', '{}')"
    tenant.connect("platform").execute(submit, (digest, document))
    tenant.published(name="long", blueprint="x" * 2_000_000)
    (generation,) = tenant.registry("publisher").call("SELECT morph.raise_index('long')")
    read = "SELECT morph.read_index('long', %(generation)s)"
    with stopped_client(tenant.url("publisher"), (read,), {"generation": generation}, sent_only=True) as client:
        client.go()
        assert delay_of(tenant.url("publisher"), "SELECT morph.raise_index('long')", {}) <= LIMIT_S
        assert delay_of(tenant.url("curator"), "SELECT morph.retire_release('long', 1, 'x')", {}) <= LIMIT_S
