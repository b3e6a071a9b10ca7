"""Whenever a removal is killed, the next one goes on: nothing is deleted that no row names, nothing named stays."""

import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from morph_assets.registry.audit.deletion import MAX_PROOF_BYTES, verify_deletion
from morph_assets.registry.removal import find_tombstone, list_doomed
from morph_assets.registry.replay.check import check_replay
from morph_assets.usecases.purge_kernel import KernelInWorkError, purge_kernel
from morph_kernels.canonical import sha256_hex
from tests.support.command_line import REPOSITORY, clean_environment
from tests.support.dying_process import LEASE_S

pytestmark = pytest.mark.slow

_PATIENCE_S = 30.0
# The changes of the store on the way: the log's archive, the bundle, the report, the proof, the archive of the end.
WAYS = [(change, moment) for change in (1, 2, 3, 4, 5) for moment in ("before", "after")]


def purged(platform, digest):
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return purge_kernel(platform.connections, digest, lease_s=LEASE_S)
        except KernelInWorkError:
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.mark.parametrize(("change", "moment"), WAYS)
def test_a_removal_killed_anywhere_is_ended_by_the_next(made_platform, change, moment):
    _, kernel = made_platform.judged()
    platform = made_platform.platform
    platform.retire_kernel(kernel.digest, reason="unused", grace_s=0)
    # Something for the first change to be: an event that is not archived yet.
    platform.connections.registry("curator").call("SELECT morph.pin(%s, 'x', NULL)", (f"release/{kernel.names[0]}@1",))
    platform.connections.registry("curator").call("SELECT morph.unpin(%s, 'x')", (f"release/{kernel.names[0]}@1",))
    command = [sys.executable, "-m", "tests.support.dying_process", "purge", kernel.digest, str(change), moment]
    died = subprocess.run(
        command, env=clean_environment(**made_platform.environment()), cwd=REPOSITORY, check=False, timeout=120
    )
    assert died.returncode == -9

    registry, store = platform.connections.registry("curator"), platform.connections.store
    stone = find_tombstone(registry, kernel.digest)
    bundle = made_platform.objects / kernel.bundle_key
    # What is gone from the store was named first.
    assert bundle.exists() or stone.purge_seq is not None
    done = purged(platform, kernel.digest)
    assert not bundle.exists()
    assert platform.find_kernel(kernel.digest).state == "PURGED"
    assert list_doomed(registry, kernel.digest) == []
    envelope = store.get(done.proof_key, max_bytes=MAX_PROOF_BYTES)
    assert sha256_hex(envelope) == done.proof_digest
    proof = verify_deletion(
        envelope,
        tenant=made_platform.config.tenant,
        kernel=kernel.digest,
        trust=platform.trust(),
        now=datetime.now(UTC),
    )
    assert [deleted.kind for deleted in proof.objects] == ["bundle", "report"]
    assert proof.objects[0].key == kernel.bundle_key
    assert check_replay(platform.connections.registry("auditor")).differences == ()
    assert purge_kernel(platform.connections, kernel.digest) == done
