"""An index that was read while its change was told."""

import pytest

from morph_kernels.artifact.trust import load_trust
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.cache.store_tier import StoreTier
from morph_kernels.cache.tier import GuardedTier
from morph_kernels.loader.index_cache import IndexCache


class BusyTier(StoreTier):
    """A store in which something is done right after the next read."""

    after = None

    def find_index(self, blueprint, *, rank=0):
        envelope = super().find_index(blueprint, rank=rank)
        after, self.after = self.after, None
        if after is not None:
            after()
        return envelope


@pytest.fixture
def kernel(compiled):
    return compiled("ffn_gelu")


def test_what_was_read_before_a_change_that_was_told_meanwhile_is_not_kept_as_fresh(host, kernel):
    publisher, name = host.publisher, "ffn_gelu"
    tier = BusyTier(publisher.store_url, tenant="default", timeout_s=5.0)
    policy = load_trust(publisher.folder / "trust" / "trust.json")
    cache = IndexCache(
        tenant="default",
        trust=lambda: policy,
        folder=DiskFolder(publisher.folder / "cache", tenant="default"),
        remote=[GuardedTier(tier)],
        refresh_s=600,
    )
    publisher.publish(kernel)

    def change():
        publisher.publish(kernel)
        cache.take_for_changed({name}, 0)

    tier.after = change
    assert cache.find(name, Deadline(5)).generation == 1
    assert cache.find(name, Deadline(5)).generation == 2
    # A second process had written the old one to the disk as confirmed just now: it is no word on what changed.
    publisher.publish(kernel)
    assert cache.find(name, Deadline(5)).generation == 2
    cache.take_for_changed(None, 0)
    assert cache.find(name, Deadline(5)).generation == 3
