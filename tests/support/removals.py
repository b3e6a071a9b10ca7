"""Kernels that go: retired, purged, or kept by a checkpoint."""

from uuid import uuid4

from psycopg.types.json import Jsonb

from morph_assets.registry.quotas import list_quotas
from morph_assets.registry.removal import (
    begin_purge,
    finish_purge,
    retire_kernel,
)
from morph_assets.registry.replay.check import check_replay
from tests.support.registry import digest_of

PROOF = {"proof_digest": digest_of("proof"), "proof_key": "t/proofs/1"}


def used(tenant):
    """Return how much of each quota is used."""
    return {quota.resource: quota.used for quota in list_quotas(tenant.registry("controller"))}


def retire(tenant, kernel, **how):
    """Retire the kernel as the curator."""
    retire_kernel(tenant.registry("curator"), kernel.digest, reason="unused for 90 days", **how)


def purge(tenant, kernel):
    """Purge the kernel's rows with a proof that nobody reads."""
    begin_purge(tenant.registry("curator"), kernel.digest)
    finish_purge(tenant.registry("curator"), kernel.digest, **PROOF)


def agrees(tenant):
    """Return whether the log tells exactly what the tables hold."""
    return check_replay(tenant.registry("auditor")).differences == ()


def commit_with(tenant, kernel, run="run"):
    """Commit a checkpoint that needs the kernel."""
    trainer = tenant.connect("trainer")
    holder, checkpoint = uuid4(), uuid4()
    (epoch,) = trainer.execute("SELECT morph.open_run(%s, %s, 600)", (run, holder)).fetchone()
    blobs = [{"digest": digest_of("blob"), "location": "p/1", "byte_offset": 0, "size_bytes": 1}]
    trainer.execute(
        "SELECT morph.commit_checkpoint(%s, %s, 'main', NULL, %s, %s, 1, 1, '1', 1, %s, 'm', %s, %s::text[], NULL)",
        (checkpoint, run, holder, epoch, digest_of("manifest"), Jsonb(blobs), [kernel.digest]),
    )
