"""What changes at a boundary and what never does: revocations, expiry, pins, caps, copies, modules that are gone."""

import copy
import gc
import pickle
import threading
from dataclasses import replace
from datetime import timedelta

import pytest

from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.loader import PinnedBodyError
from morph_kernels.reasons import Reason
from tests.support.hostile_host import assert_works, join_background
from tests.support.traps import remade

pytestmark = pytest.mark.slow

NAME = "ffn_gelu"
ALWAYS = 1e-6


@pytest.fixture
def kernel(compiled):
    return compiled(NAME)


def revoke(host, kernel):
    revoked = frozenset({kernel.manifest.digest})
    host.publisher.publish_index(kernel, [host.publisher.variant(kernel)], revoked=revoked)


def test_a_revoked_kernel_leaves_at_the_next_boundary_and_never_comes_back(host, kernel):
    host.publisher.publish(kernel)
    loader = host.publisher.loader(refresh_s=ALWAYS)
    module = loader.load(NAME)
    revoke(host, kernel)
    assert loader.load(NAME).reason is Reason.REVOKED, "what is loaded from now on has it no more"
    assert module.source == "store"
    report = loader.at_boundary()
    assert (module.source, module.reason, report.exchanged) == ("eager", Reason.REVOKED, 1)
    for _ in range(3):
        join_background()
        assert loader.at_boundary().exchanged == 0
    assert module.source == "eager"
    assert_works(module)


def test_a_boundary_looks_for_newer_indexes_behind_trainings_back(host, kernel):
    host.publisher.publish(kernel)
    loader = host.publisher.loader(refresh_s=ALWAYS)
    module = loader.load(NAME)
    revoke(host, kernel)
    loader.at_boundary()
    join_background()
    assert loader.at_boundary().exchanged == 1
    assert module.reason is Reason.REVOKED


def test_copies_of_a_module_lose_a_revoked_kernel_too(host, kernel):
    host.publisher.publish(kernel)
    loader = host.publisher.loader(refresh_s=ALWAYS)
    module = loader.load(NAME)
    copies = [copy.deepcopy(module), pickle.loads(pickle.dumps(module))]  # noqa: S301 - made by the line itself
    assert [one.digest for one in copies] == [kernel.manifest.digest] * 2
    del module
    gc.collect()
    revoke(host, kernel)
    loader.load(NAME)
    loader.at_boundary()
    assert [one.reason for one in copies] == [Reason.REVOKED] * 2
    for one in copies:
        assert_works(one)


def test_a_kernel_that_came_later_goes_into_modules_at_a_boundary_and_not_into_copies(host, kernel):
    host.publisher.publish_index(kernel, [])
    loader = host.publisher.loader(refresh_s=ALWAYS)
    module = loader.load(NAME)
    assert module.reason is Reason.NO_VARIANT
    twin = copy.deepcopy(module)
    host.publisher.publish(kernel)
    for _ in range(5):
        loader.at_boundary()
        join_background()
    assert (module.source, twin.source) == ("disk", "eager")
    assert_works(module)


def test_when_the_index_expires_loaded_bodies_go_on_and_no_new_ones_come(host, kernel, compiled):
    other = compiled("squeeze_excite")
    host.publisher.publish(kernel)
    host.publisher.publish(other)
    loader = host.publisher.loader(refresh_s=ALWAYS)
    running, waiting = loader.load(NAME), loader.load("squeeze_excite")
    waiting.use_eager(Reason.NOT_READY)
    for one in (kernel, other):
        host.publisher.publish_index(one, [host.publisher.variant(one)], expires_in=timedelta(seconds=-1))
    assert loader.load(NAME).reason is Reason.INDEX_EXPIRED
    assert loader.load("squeeze_excite").reason is Reason.INDEX_EXPIRED
    for _ in range(3):
        loader.at_boundary()
        join_background()
    assert (running.digest, waiting.digest) == (kernel.manifest.digest, None)
    assert_works(running)


def test_a_pinned_module_is_never_exchanged(host, kernel):
    host.publisher.publish(kernel)
    loader = host.publisher.loader(refresh_s=ALWAYS)
    compiled_one = loader.load_pinned(kernel.blueprint, body=kernel.manifest.digest)
    eager_one = loader.load_pinned(kernel.blueprint, body="eager")
    revoke(host, kernel)
    loader.load(NAME)
    loader.at_boundary()
    assert (compiled_one.digest, eager_one.digest) == (kernel.manifest.digest, None)
    with pytest.raises(PinnedBodyError, match=Reason.REVOKED):
        loader.load_pinned(kernel.blueprint, body=kernel.manifest.digest)


def test_who_asked_for_eager_keeps_it(host, kernel):
    host.publisher.publish(kernel)
    loader = host.publisher.loader()
    module = loader.load(NAME)
    module.use_eager()
    loader.at_boundary()
    assert (module.source, module.reason) == ("eager", Reason.REQUESTED)


def test_beyond_the_cap_kernels_run_eager(host, kernel):
    host.publisher.publish(kernel)
    assert host.publisher.loader().load(NAME).source == "store"
    manifest = remade(kernel.manifest, glibc="2.3")
    bundle = KernelBundle(manifest.to_bytes(), kernel.bundle.libraries)
    host.publisher.publish(replace(kernel, manifest=manifest, bundle=bundle))
    module = host.publisher.loader("other", library_cap=1).load(NAME)
    assert (module.source, module.reason) == ("eager", Reason.LIBRARY_CAP)
    assert_works(module)


def test_modules_that_nobody_holds_leave_their_slots(host, kernel):
    host.publisher.publish(kernel)
    loader = host.publisher.loader()
    kept = [loader.load(NAME) for _ in range(3)]
    assert len(loader.at_boundary().bodies) == 3
    del kept[1]
    assert len(loader.at_boundary().bodies) == 2


def test_stats_can_be_read_while_others_load(host, kernel):
    host.publisher.publish(kernel)
    loader = host.publisher.loader()
    stop, problems, kept = threading.Event(), [], []

    def read():
        while not stop.is_set():
            try:
                loader.stats()
                loader.at_boundary()
            except Exception as error:  # noqa: BLE001 - any is a failure of this test
                problems.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    kept.extend(loader.load(NAME) for _ in range(100))
    stop.set()
    reader.join()
    assert problems == []
    assert len(loader.at_boundary().bodies) == len(kept)
    assert sum(loader.stats()["loads"].values()) == len(kept)


def test_what_another_process_of_the_host_learned_is_believed_over_an_old_memory(host, kernel):
    host.publisher.publish(kernel)
    loader = host.publisher.loader(refresh_s=ALWAYS)
    assert loader.load(NAME).source == "store"
    revoked = frozenset({kernel.manifest.digest})
    envelope = host.publisher.publish_index(kernel, [host.publisher.variant(kernel)], revoked=revoked)
    host.index().put(NAME, host.publisher.generation, envelope)
    # Every server goes away; the disk remembers.
    host.plant_index("disk", NAME, envelope, generation=host.publisher.generation)
    join_background()
    assert loader.load(NAME).reason is Reason.REVOKED
