"""Who may not make a kernel go, and that there is no short cut; also for the superuser, over raw connections."""

import psycopg
import pytest

from morph_assets.registry.errors import (
    AccessRefusedError,
    GuardError,
    NotRegisteredError,
)
from morph_assets.registry.removal import (
    begin_purge,
    finish_purge,
    restore_kernel,
    retire_kernel,
)
from morph_assets.registry.retention import set_policy
from tests.support.registry import digest_of
from tests.support.removals import PROOF, commit_with, retire


def test_no_purge_ends_that_was_not_begun(tenant):
    kernel = tenant.evaluated()
    curator = tenant.registry("curator")
    with pytest.raises(NotRegisteredError):
        begin_purge(curator, kernel.digest)
    with pytest.raises(GuardError, match="no purge"):
        finish_purge(curator, kernel.digest, **PROOF)
    retire(tenant, kernel, grace_s=0)
    with pytest.raises(GuardError, match="no purge"):
        finish_purge(curator, kernel.digest, **PROOF)
    with pytest.raises(NotRegisteredError):
        restore_kernel(curator, tenant.built("another").digest, reason="x")


@pytest.mark.parametrize("role", ["platform", "compiler", "evaluator", "publisher", "trainer", "controller", "auditor"])
def test_only_curator_and_admin_take_kernels_away_or_bring_them_back(tenant, role):
    registry = tenant.registry(role)
    for attempt in (
        lambda: retire_kernel(registry, digest_of("x"), reason="x"),
        lambda: restore_kernel(registry, digest_of("x"), reason="x"),
        lambda: begin_purge(registry, digest_of("x")),
        lambda: finish_purge(registry, digest_of("x"), **PROOF),
        lambda: set_policy(registry, "x", "unused", {"days": 1}),
    ):
        with pytest.raises(AccessRefusedError):
            attempt()


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        ("UPDATE morph.kernel SET state = 'PURGED' WHERE tenant = %(tenant)s", "MO003"),
        ("UPDATE morph.kernel SET state = 'VALIDATED' WHERE tenant = %(tenant)s", "MO007"),  # its grace lasts
        ("UPDATE morph.kernel SET state = 'PUBLISHED' WHERE tenant = %(tenant)s", "MO002"),
        ("DELETE FROM morph.report WHERE tenant = %(tenant)s", "MO009"),
        ("DELETE FROM morph.attestation WHERE tenant = %(tenant)s", "MO009"),
        ("DELETE FROM morph.measurement WHERE tenant = %(tenant)s", "MO009"),
        ("UPDATE morph.tombstone SET grace_until = now() WHERE tenant = %(tenant)s", "MO007"),
        ("DELETE FROM morph.tombstone WHERE tenant = %(tenant)s", "MO007"),
        ("UPDATE morph.tombstone SET purged_seq = 9, purge_seq = 8 WHERE tenant = %(tenant)s", "23514"),
    ],
)
def test_the_superuser_too_takes_no_short_cut(tenant, statement, state):
    retire(tenant, tenant.evaluated())
    with psycopg.connect(tenant.admin_url, autocommit=True) as superuser, pytest.raises(psycopg.Error) as refused:
        superuser.execute(statement, {"tenant": tenant.name})
    assert refused.value.sqlstate == state


def test_a_kernel_that_a_checkpoint_needs_cannot_be_deleted_by_anybody(tenant):
    kernel = tenant.evaluated()
    commit_with(tenant, kernel)
    with psycopg.connect(tenant.admin_url, autocommit=True) as superuser, pytest.raises(psycopg.Error) as refused:
        superuser.execute("DELETE FROM morph.kernel WHERE digest = %s", (kernel.digest,))
    assert refused.value.sqlstate == "23503"
    with pytest.raises(GuardError, match=r"unreferenced .*checkpoint .* needs it"):
        retire(tenant, kernel)
