"""A cache on a real disk after any sequence of what happens to it: never over its cap, never without a pin."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.cache.disk_tier import DiskBudgetError, DiskTier
from morph_kernels.cache.eviction import plan_eviction
from tests.support.artifacts import make_manifest

CAP_BYTES = 20_000
KERNELS = [
    (
        make_manifest(forward=data),
        KernelBundle(make_manifest(forward=data).to_bytes(), {"forward": data, "backward": b"B"}),
    )
    for data in (bytes([number]) * (1500 * (number + 1)) for number in range(8))
]
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["put", "put", "put", "find", "drop"]), st.integers(0, 7), st.floats(0, 100)),
        st.tuples(st.just("evict"), st.integers(0, CAP_BYTES), st.just(0.0)),
    ),
    min_size=10,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(steps, st.sets(st.integers(0, 7), max_size=2))
def test_the_cap_holds_pins_stay_and_totals_are_the_sum_of_what_lies_there(taken, pinned):
    pins = {KERNELS[number][0].digest: "pinned" for number in pinned}
    with tempfile.TemporaryDirectory() as cache:
        disk = DiskTier(DiskFolder(Path(cache) / "cache", tenant="default"), budget_bytes=CAP_BYTES)
        present = set()
        for what, number, seconds in taken:
            manifest, bundle = KERNELS[number % 8]
            if what == "put":
                try:
                    disk.put(manifest, bundle, fetch_s=seconds, keep=pins)
                except DiskBudgetError:
                    held = {kernel.digest: kernel.size_bytes for kernel in disk.kernels()}
                    kept = sum(size for digest, size in held.items() if digest in pins)
                    assert kept + bundle.size_bytes > CAP_BYTES
                else:
                    present.add(manifest.digest)
            elif what == "find":
                assert (disk.find(manifest.digest) is None) == (manifest.digest not in disk.digests())
            elif what == "drop" and manifest.digest not in pins:
                disk.drop(manifest.digest)
            elif what == "evict":
                disk.evict(plan_eviction(disk.kernels(), budget_bytes=number, keep=pins))
            assert present & set(pins) <= set(disk.digests())
            files = (file for file in Path(cache).glob("cache/default/kernels/*/*"))
            total = sum(file.stat().st_size for file in files)
            assert total == sum(kernel.size_bytes for kernel in disk.kernels()) <= CAP_BYTES


def test_the_kernels_of_this_test_do_not_all_fit():
    assert sum(bundle.size_bytes for _, bundle in KERNELS) > CAP_BYTES
    assert max(bundle.size_bytes for _, bundle in KERNELS) < CAP_BYTES
