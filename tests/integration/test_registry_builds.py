"""Compiler runs in the registry: one kernel of however many, each run kept with its outcome."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from uuid import uuid4

import pytest

from morph_assets.registry.builds import BuildCost, count_builds, list_builds, record_build, record_failed_build
from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import (
    NotRegisteredError,
)
from morph_assets.registry.kernels import (
    list_kernels,
)
from tests.support.registry import compiled, digest_of


def test_eight_racing_builders_leave_one_kernel(tenant):
    release = tenant.submitted()
    url = tenant.url("compiler")

    def build(number):
        with Registry.open(url) as registry:
            same_key = compiled(release.blueprint_digest)
            mine = replace(same_key, digest=digest_of(f"kernel of builder {number}"))
            return record_build(registry, mine).digest

    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(build, range(8)))
    assert len(digests) == 1
    assert [kernel.digest for kernel in list_kernels(tenant.registry("platform"))] == list(digests)
    assert count_builds(tenant.registry("platform")) == {"built": 1, "redundant": 7, "failed": 0}


def test_a_build_recorded_twice_is_one_build(tenant):
    build = compiled(tenant.submitted().blueprint_digest)
    first, second = (record_build(tenant.registry("compiler"), build) for _ in range(2))
    assert first == second
    (row,) = list_builds(tenant.registry("platform"), build_key=build.build_key)
    assert (row.outcome, row.cpu_s, row.isolation, row.builder) == (
        "built",
        19.2,
        "bubblewrap",
        f"morph_{tenant.name}_compiler",
    )


def test_a_build_that_failed_is_kept_with_its_reason(tenant):
    release, build_id = tenant.submitted(), uuid4()
    cost = BuildCost(cpu_s=3.0, wall_s=4.0, isolation="bubblewrap", log_tail="x" * 70_000 + "g++: out of memory")
    for _ in range(2):
        record_failed_build(
            tenant.registry("compiler"),
            release.blueprint_digest,
            digest_of("key"),
            reason="compiler_died",
            cost=cost,
            build_id=build_id,
        )
    (row,) = list_builds(tenant.registry("platform"))
    assert (row.outcome, row.reason, row.kernel_digest) == ("failed", "compiler_died", None)
    assert row.log_tail.endswith("g++: out of memory")


def test_a_build_of_an_unknown_blueprint_is_refused(tenant):
    with pytest.raises(NotRegisteredError):
        record_build(tenant.registry("compiler"), compiled(digest_of("nobody")))
