"""While a bundle is being removed, and once it is gone, nothing begins to need it; and nothing holds the removal up."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from morph_assets.registry.builds import record_build
from morph_assets.registry.errors import BlobGoneError
from morph_assets.registry.import_batch import ImportBatch
from morph_assets.registry.import_manifest import encode_batch
from morph_assets.registry.imports import import_batch
from morph_assets.registry.kernels import find_kernel
from morph_assets.registry.removal import begin_purge, finish_purge
from morph_assets.registry.usage import report_served
from morph_kernels.identity import ObjectKey
from tests.support.imported import imported_kernel, imported_release
from tests.support.registry import compiled, digest_of, state_of
from tests.support.removals import PROOF, agrees, retire

SIZE_BYTES = 220_000


def commit(tenant, digest, size_bytes=SIZE_BYTES):
    """Commit a checkpoint that shares a blob."""
    trainer, holder = tenant.connect("trainer"), uuid4()
    (epoch,) = trainer.execute("SELECT morph.open_run(%s, %s, 600)", (f"run-{holder}", holder)).fetchone()
    blobs = [{"digest": digest, "location": "p/1", "byte_offset": 0, "size_bytes": size_bytes}]
    with tenant.registry("trainer").transaction() as connection:
        connection.execute(
            """SELECT morph.commit_checkpoint(%s, %s, 'main', NULL, %s, %s, 1, 1, '1', 1, %s, 'm', %s, '{}'::text[],
                                              NULL)""",
            (uuid4(), f"run-{holder}", holder, epoch, digest_of("manifest"), Jsonb(blobs)),
        )


def build(tenant, digest, size_bytes=SIZE_BYTES):
    """Record a kernel that was packed into the same bundle."""
    blueprint = tenant.submitted().blueprint_digest
    other = compiled(blueprint, "other", bundle_digest=digest, bundle_bytes=size_bytes)
    record_build(tenant.registry("compiler"), other)


def take_in(tenant, digest, size_bytes=SIZE_BYTES):
    """Import a kernel that was packed into the same bundle."""
    kernel = imported_kernel("other", bundle_digest=digest, bundle_bytes=size_bytes)
    manifest = encode_batch(ImportBatch((imported_release(),), (kernel,)))
    import_batch(tenant.registry("curator"), manifest, ObjectKey("k/1"))


USES = pytest.mark.parametrize("use", [commit, build, take_in])


def going(tenant, kernel):
    """Begin to remove the kernel; return its bundle."""
    retire(tenant, kernel, grace_s=0)
    begin_purge(tenant.registry("curator"), kernel.digest)
    return find_kernel(tenant.registry("controller"), digest=kernel.digest).bundle_digest


@USES
def test_nothing_begins_to_need_a_bundle_that_is_being_removed(tenant, use):
    kernel = tenant.evaluated()
    bundle = going(tenant, kernel)
    with pytest.raises(BlobGoneError, match=bundle):
        use(tenant, bundle)
    finish_purge(tenant.registry("curator"), kernel.digest, **PROOF)
    assert agrees(tenant)


def test_a_kernel_is_not_imported_with_a_bundle_that_is_gone(tenant):
    kernel = tenant.evaluated()
    bundle = going(tenant, kernel)
    finish_purge(tenant.registry("curator"), kernel.digest, **PROOF)
    with pytest.raises(BlobGoneError, match=bundle):
        take_in(tenant, bundle)


@USES
def test_what_is_here_under_a_digest_has_one_size(tenant, use):
    bundle = tenant.evaluated().bundle_digest
    with pytest.raises(BlobGoneError, match=bundle):
        use(tenant, bundle, size_bytes=SIZE_BYTES - 1)


def test_a_run_that_tells_too_late_what_it_was_served_does_not_hold_a_removal_up(tenant):
    kernel = tenant.evaluated()
    going(tenant, kernel)
    tenant.connect("trainer").execute("SELECT morph.open_run('late', gen_random_uuid(), 600)")
    now = datetime.now(UTC)
    report_served(
        tenant.registry("trainer"), {kernel.digest: 1}, run="late", began_at=now - timedelta(seconds=1), ended_at=now
    )
    finish_purge(tenant.registry("curator"), kernel.digest, **PROOF)
    assert state_of(tenant, kernel) == "PURGED"
    assert agrees(tenant)
