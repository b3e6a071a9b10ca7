"""A move between storage tiers is killed anywhere: the kernel stays readable, and the next move ends it."""

import subprocess
import sys
import time
from dataclasses import replace

import pytest

from morph_assets.platform import Platform
from morph_assets.registry.artifacts import find_place
from morph_assets.registry.replay.check import check_replay
from morph_assets.usecases.fetch_bundle import fetch_bundle
from morph_assets.usecases.move_kernel import move_kernel
from morph_assets.usecases.purge_kernel import KernelInWorkError
from tests.support.command_line import REPOSITORY, clean_environment
from tests.support.dying_process import LEASE_S

pytestmark = pytest.mark.slow

_PATIENCE_S = 30.0
# Clear the way, copy, delete, archive the log; it is switched between the second and the third.
WAYS = [(change, moment) for change in (1, 2, 3, 4) for moment in ("before", "after")]


@pytest.fixture
def tiered(made_platform):
    """The platform with a cold place."""
    storage = replace(made_platform.config.storage, cold_url=f"file://{made_platform.config.folders.home}/cold")
    with Platform.connect(replace(made_platform.config, storage=storage)) as platform:
        yield platform


def moved(platform, digest, to):
    until = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return move_kernel(platform.connections, digest, to, reason="test", lease_s=LEASE_S)
        except KernelInWorkError:
            assert time.monotonic() < until
            time.sleep(0.05)


@pytest.mark.parametrize("to", ["cold", "store"])
@pytest.mark.parametrize(("change", "moment"), WAYS)
def test_a_move_killed_anywhere_leaves_the_kernel_readable_and_is_ended(made_platform, tiered, to, change, moment):
    made, kernel = made_platform.judged()
    connections = tiered.connections
    if to == "store":
        moved(tiered, kernel.digest, "cold")
    variables = made_platform.environment() | {"MORPH_COLD_STORE_URL": tiered.connections.config.storage.cold_url}
    command = [sys.executable, "-m", "tests.support.dying_process", f"move-to-{to}", kernel.digest, str(change), moment]

    died = subprocess.run(command, env=clean_environment(**variables), cwd=REPOSITORY, check=False, timeout=120)

    assert died.returncode == -9
    assert fetch_bundle(connections, kernel) == made.bundle
    # Where it is switched to, it is whole.
    switched = (
        connections.main_store if find_place(connections.registry("platform"), kernel.digest) == "store" else None
    )
    assert (switched or connections.cold_store).size(kernel.bundle_key) > 0
    assert moved(tiered, kernel.digest, to)
    home = made_platform.config.folders.home
    assert [(home / place / kernel.bundle_key).exists() for place in ("objects", "cold")] == [
        to == "store",
        to == "cold",
    ]
    assert find_place(connections.registry("platform"), kernel.digest) == to
    assert fetch_bundle(connections, kernel) == made.bundle
    assert check_replay(connections.registry("auditor")).differences == ()
