import pytest

from morph_kernels.cache.redis_tier import RedisTier
from morph_kernels.cache.store_tier import StoreTier
from tests.contract.remote_tier import DATA, DIGEST, RemoteTierContract


class TestRedisTier(RemoteTierContract):
    @pytest.fixture
    def tier(self, valkey):
        return RedisTier(valkey.url, tenant="default")

    @pytest.fixture
    def gone(self):
        return RedisTier("redis://127.0.0.1:1/0", tenant="default")

    def test_tenants_do_not_see_each_other(self, valkey, tier):
        tier.put_bundle(DIGEST, DATA)
        tier.put_index("ffn_gelu", 1, b"first")
        other = RedisTier(valkey.url, tenant="others")
        assert other.find_bundle(DIGEST, max_bytes=len(DATA)) is None
        assert other.find_index("ffn_gelu") is None


class StoreTierContract(RemoteTierContract):
    def test_older_indexes_are_ranked_behind_the_newest(self, tier):
        for generation in (3, 20, 100):
            tier.put_index("ffn_gelu", generation, str(generation).encode())
        assert [tier.find_index("ffn_gelu", rank=rank) for rank in range(4)] == [b"100", b"20", b"3", None]


class TestFolderStoreTier(StoreTierContract):
    @pytest.fixture
    def tier(self, tmp_path):
        return StoreTier(tmp_path.as_uri(), tenant="default", timeout_s=2.0)

    @pytest.fixture
    def gone(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        return StoreTier((tmp_path / "file").as_uri(), tenant="default", timeout_s=2.0)


class TestS3StoreTier(StoreTierContract):
    @pytest.fixture
    def tier(self, seaweedfs, tmp_path):
        return StoreTier(seaweedfs.url("morph", f"tiers-{tmp_path.name}"), tenant="default", timeout_s=5.0)

    @pytest.fixture
    def gone(self):
        return StoreTier("s3://morph?endpoint=http://127.0.0.1:1&allow_http=true", tenant="default", timeout_s=0.5)
