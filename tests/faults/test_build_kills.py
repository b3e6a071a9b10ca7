"""A builder that is killed between the bytes and the row leaves an orphan, and the next one completes its work."""

import os
import subprocess
import sys
import time

from morph_assets.registry.builds import count_builds
from morph_assets.registry.held_lease import hold_lease
from morph_assets.registry.leases import Lease
from morph_kernels.artifact.bundle import encode_bundle
from morph_kernels.store.keys import bundle_key
from tests.support.command_line import REPOSITORY, clean_environment
from tests.support.register_process import LEASE_S

_PATIENCE_S = 60.0


def wait_until(condition):
    until = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def is_free(registry, name) -> bool:
    with hold_lease(registry, name) as lease:
        return isinstance(lease, Lease)


def test_a_builder_killed_between_the_bytes_and_the_row_leaves_only_an_orphan(made_platform, tmp_path):
    kernel, platform = made_platform.build("ffn_gelu"), made_platform.platform
    platform.submit_blueprint(kernel.blueprint)
    (tmp_path / "bundle").write_bytes(encode_bundle(kernel.bundle))
    # A signer that waits for ever for its key: the builder stands still with the bytes stored and no row written.
    os.mkfifo(tmp_path / "compiler.pem", 0o600)
    environment = clean_environment(**made_platform.environment(), MORPH_KEYS_DIR=str(tmp_path))
    stored = made_platform.objects / bundle_key(made_platform.config.tenant, kernel.manifest.digest)
    command = [sys.executable, "-m", "tests.support.register_process", str(tmp_path / "bundle")]
    with subprocess.Popen(command, env=environment, cwd=REPOSITORY) as builder:
        wait_until(stored.exists)
        builder.kill()

    assert platform.list_kernels() == []
    registry = platform.connections.registry("compiler")
    began = time.monotonic()
    wait_until(lambda: is_free(registry, f"build/{kernel.manifest.build_key}"))
    assert time.monotonic() - began < LEASE_S + 5
    assert made_platform.register(kernel).digest == kernel.manifest.digest
    assert count_builds(registry) == {"built": 1, "redundant": 0, "failed": 0}
