"""Two real connections at once, many rounds: whoever wins, nothing illegal stands afterwards."""

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from morph_assets.registry.import_batch import ImportBatch
from morph_assets.registry.import_manifest import encode_batch
from morph_assets.registry.replay.check import check_replay
from tests.support.imported import imported_kernel, imported_release
from tests.support.registry import digest_of

ROUNDS = 40


@pytest.fixture
def race(tenant):
    """Say two statements at the same moment, each as its role; return what refused each, or None."""
    with ThreadPoolExecutor(2) as pool:

        def run(*calls):
            start = threading.Barrier(len(calls))

            def say(role, statement, parameters):
                connection = tenant.connect(role) if role not in connections else connections[role]
                connections[role] = connection
                start.wait()
                try:
                    connection.execute(statement, parameters)
                except psycopg.Error as refused:
                    return refused.sqlstate
                return None

            return list(pool.map(lambda each: say(*each), calls))

        connections: dict[str, psycopg.Connection] = {}
        yield run


def counted(tenant, query):
    return tenant.registry("auditor").call(query)[0]


def test_in_no_round_does_an_alias_stand_on_a_release_being_retired(tenant, race):
    tenant.published()
    moved_first = set()
    for number in range(ROUNDS):
        name = f"name-{number}"
        tenant.submitted(name)  # the digest has a published kernel: published at once
        moved, retired = race(
            ("publisher", "SELECT morph.move_alias(%s, 'production', 1, NULL)", (name,)),
            ("curator", "SELECT morph.retire_release(%s, 1, 'race')", (name,)),
        )
        assert {moved, retired} == {None, "MO003"}
        moved_first.add(moved is None)
    on_retired = """SELECT count(*) FROM morph.alias a JOIN morph.blueprint_release r USING (tenant, name, version)
                    WHERE r.state <> 'PUBLISHED'"""
    assert counted(tenant, on_retired) == 0
    assert moved_first == {True, False}  # else one of them always came first, and nothing was raced
    assert check_replay(tenant.registry("auditor")).differences == ()


def test_in_no_round_is_an_alias_left_without_a_body(tenant, race):
    for number in range(ROUNDS):
        kernel = tenant.published(blueprint=f"blueprint {number}", name=f"name-{number}")
        moved, retired = race(
            ("publisher", "SELECT morph.move_alias(%s, 'production', 1, NULL)", (f"name-{number}",)),
            ("curator", "SELECT morph.retire_kernel(%s, 'race')", (kernel.digest,)),
        )
        assert moved is None
        assert retired in {None, "MO003"}
    bodiless = """SELECT count(*) FROM morph.event moved JOIN morph.blueprint_release r USING (tenant)
                  JOIN morph.event retired USING (tenant)
                  WHERE moved.type = 'alias.moved' AND moved.subject = 'blueprint/' || r.name
                    AND retired.type = 'kernel.retired' AND retired.seq > moved.seq
                    AND convert_from(retired.payload, 'UTF8')::jsonb ->> 'blueprint_digest' = r.blueprint_digest"""
    assert counted(tenant, bodiless) == 0


def test_in_no_round_is_a_kernel_published_after_its_revocation(tenant, race):
    outcomes = set()
    for number in range(ROUNDS):
        kernel = tenant.evaluated(f"kernel {number}")
        published, revoked = race(
            ("publisher", "SELECT morph.publish_kernel(%s)", (kernel.digest,)),
            ("curator", "SELECT morph.revoke_kernel(%s, 'race')", (kernel.digest,)),
        )
        assert revoked is None
        assert published in {None, "MO002"}
        outcomes.add(published)
    assert counted(tenant, "SELECT count(*) FROM morph.kernel WHERE state <> 'REVOKED'") == 0
    assert check_replay(tenant.registry("auditor")).differences == ()


def test_in_no_round_does_a_checkpoint_need_a_kernel_retired_before_it(tenant, race):
    holder, head = uuid4(), None
    trainer = tenant.connect("trainer")
    (epoch,) = trainer.execute("SELECT morph.open_run('run', %s, 600)", (holder,)).fetchone()
    commit = "SELECT morph.commit_checkpoint(%s, 'run', 'main', %s, %s, %s, 1, 1, 'v1', 1, %s, 'm', %s, %s, %s)"
    for number in range(ROUNDS):
        kernel, checkpoint = tenant.built(f"kernel {number}"), uuid4()
        blobs = Jsonb([{"digest": digest_of("blob"), "location": "p/1", "byte_offset": 0, "size_bytes": 1}])
        committed, retired = race(
            ("trainer", commit, (checkpoint, head, holder, epoch, digest_of("m"), blobs, [kernel.digest], head)),
            ("curator", "SELECT morph.retire_kernel(%s, 'race')", (kernel.digest,)),
        )
        assert committed is None
        assert retired in {None, "MO003"}
        head = checkpoint
    needed_but_gone = """SELECT count(*) FROM morph.event retired JOIN morph.checkpoint_kernel c USING (tenant)
                         JOIN morph.checkpoint k USING (tenant, checkpoint)
                         WHERE retired.type = 'kernel.retired' AND retired.subject = 'kernel/' || c.kernel_digest
                           AND retired.seq > k.seq"""
    assert counted(tenant, needed_but_gone) == 0
    assert check_replay(tenant.registry("auditor")).differences == ()


def test_in_no_round_is_the_same_manifest_taken_in_twice_or_refused(tenant, race):
    for number in range(ROUNDS):
        name = f"name-{number}"
        batch = ImportBatch((imported_release(name, name),), tuple(imported_kernel(f"{n}", name) for n in range(5)))
        take_in = "SELECT morph.import_kernels(gen_random_uuid(), %b, 'k/1')"
        manifest = (encode_batch(batch),)
        assert race(("curator", take_in, manifest), ("admin", take_in, manifest)) == [None, None]
    assert counted(tenant, "SELECT count(*) FROM morph.event WHERE type = 'kernels.imported'") == ROUNDS
