"""A round over the library on a whole platform: what it takes, what loaders see, what is gone from store and Redis."""

from datetime import UTC, datetime

import pytest

from morph_assets.registry.audit.deletion import MAX_PROOF_BYTES, verify_deletion
from morph_assets.registry.errors import GuardError, NotRegisteredError
from morph_assets.registry.kernels import kernel_subject, publish_kernel
from morph_assets.registry.removal import find_tombstone
from morph_assets.registry.retention import iter_kernel_uses
from morph_kernels.artifact.roles import Role
from morph_kernels.artifact.signer_process import SignerError
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.store.keys import deletion_proof_key, index_key


def decided(report):
    return {kernel.digest: kernel.decision for kernel in report.kernels}


def test_a_published_kernel_without_an_alias_leaves_the_index_and_then_store_and_redis(made_platform):
    _, kernel = made_platform.judged()
    platform, store = made_platform.platform, made_platform.platform.connections.store
    publish_kernel(platform.connections.registry("publisher"), kernel.digest)
    before = platform.publish_index("ffn_gelu")
    platform.warm_cache(["ffn_gelu"])
    platform.set_policy("idle", "unused", {"days": 0}, grace_s=0)

    assert decided(platform.curate_kernels(dry_run=True)) == {kernel.digest: "retired"}
    assert platform.find_kernel(kernel.digest).state == "PUBLISHED"
    retired = platform.curate_kernels()
    assert decided(retired) == {kernel.digest: "retired"}
    assert store.size(index_key(made_platform.config.tenant, "ffn_gelu", before + 1)) > 0
    assert platform.stale_indexes() == ()
    redis = platform.connections.redis
    assert redis.find_bundle(kernel.digest, max_bytes=10**8) is not None

    report = platform.curate_kernels()
    assert decided(report) == {kernel.digest: "purged"}
    assert (report.freed_bytes, report.frees_bytes) == (retired.frees_bytes, retired.freed_bytes)
    assert report.freed_bytes > 0
    assert redis.find_bundle(kernel.digest, max_bytes=10**8) is None
    assert not (made_platform.objects / kernel.bundle_key).exists()


def test_what_serves_by_an_alias_says_so_and_what_was_used_says_when(made_platform):
    made_platform.published()
    (use,) = iter_kernel_uses(made_platform.platform.connections.registry("curator"))
    assert use.aliases == ["ffn_gelu@production"]
    assert use.stays_because == "the last published kernel behind ffn_gelu@production"
    assert use.last_used_at > use.created_at


def test_a_pinned_tombstone_is_refused_its_purge_and_goes_once_it_is_free(made_platform):
    _, kernel = made_platform.judged()
    platform = made_platform.platform
    platform.retire_kernel(kernel.digest, reason="unused", grace_s=0)
    platform.pin(kernel_subject(kernel.digest), reason="wait")
    (refused,) = platform.curate_kernels().kernels
    assert (refused.decision, "pinned by" in refused.because) == ("refused", True)
    platform.unpin(kernel_subject(kernel.digest), reason="go")
    assert decided(platform.curate_kernels()) == {kernel.digest: "purged"}
    assert decided(platform.curate_kernels()) == {}


def test_the_proof_names_what_went_and_only_the_auditors_counts(made_platform):
    _, kernel = made_platform.judged()
    platform, tenant = made_platform.platform, made_platform.config.tenant
    platform.retire_kernel(kernel.digest, reason="unused for 90 days", grace_s=0)
    done = platform.purge_kernel(kernel.digest)
    store = platform.connections.store
    envelope = store.get(done.proof_key, max_bytes=MAX_PROOF_BYTES)
    judge = {"trust": platform.trust(), "now": datetime.now(UTC)}

    proof = verify_deletion(envelope, tenant=tenant, kernel=kernel.digest, **judge)
    assert (proof.reason, proof.policy, proof.blueprint_digest) == ("unused for 90 days", "", kernel.blueprint_digest)
    assert proof.purge_seq == find_tombstone(platform.connections.registry("auditor"), kernel.digest).purge_seq
    assert sum(deleted.size_bytes for deleted in proof.objects) == done.freed_bytes > 0
    other = verify_deletion(envelope, tenant="other", kernel=kernel.digest, **judge)
    assert isinstance(other, Rejected)
    tampered = verify_deletion(envelope.replace(b"sig", b"gis"), tenant=tenant, kernel=kernel.digest, **judge)
    assert isinstance(tampered, Rejected)
    with pytest.raises(SignerError, match="does not sign"):
        platform.connections.signer(Role.PUBLISHER).sign(proof.to_document())


def test_a_proof_that_somebody_else_put_in_its_place_is_replaced(made_platform):
    _, kernel = made_platform.judged()
    platform = made_platform.platform
    platform.retire_kernel(kernel.digest, reason="unused", grace_s=0)
    registry = platform.connections.registry("curator")
    (seq,) = registry.call("SELECT morph.begin_purge(%s)", (kernel.digest,))
    key = deletion_proof_key(made_platform.config.tenant, kernel.digest, seq)
    platform.connections.store.put_if_absent(key, b"forged")
    done = platform.purge_kernel(kernel.digest)
    assert done.proof_key == key
    assert platform.connections.store.get(key, max_bytes=MAX_PROOF_BYTES) != b"forged"


def test_a_kernel_that_is_not_due_is_not_purged(made_platform):
    _, kernel = made_platform.judged()
    platform = made_platform.platform
    with pytest.raises(NotRegisteredError):
        platform.purge_kernel(kernel.digest)
    platform.retire_kernel(kernel.digest, reason="x", grace_s=3600)
    with pytest.raises(GuardError):
        platform.purge_kernel(kernel.digest)
    assert (made_platform.objects / kernel.bundle_key).exists()
    report = platform.curate_kernels()
    assert decided(report) == {kernel.digest: "tombstoned"}


def test_a_kernel_that_went_is_compiled_and_registered_anew(made_platform):
    kernel, record = made_platform.judged()
    platform = made_platform.platform
    platform.retire_kernel(record.digest, reason="unused", grace_s=0)
    platform.purge_kernel(record.digest)
    assert isinstance(made_platform.register(kernel).digest, str)
    found = platform.find_kernel(record.digest)
    assert (found.state, (made_platform.objects / found.bundle_key).exists()) == ("COMPILED", True)
