"""What every remote tier must do; subclass `RemoteTierContract` and give it a `tier` fixture."""

import pytest

from morph_kernels.identity import KernelDigest

DIGEST, OTHER = KernelDigest("a" * 64), KernelDigest("b" * 64)
DATA = bytes(range(256)) * 400


class RemoteTierContract:
    @pytest.fixture
    def tier(self):
        raise NotImplementedError

    def test_a_get_after_a_put_sees_it(self, tier):
        tier.put_bundle(DIGEST, DATA)
        assert tier.find_bundle(DIGEST, max_bytes=len(DATA)) == DATA

    def test_what_is_not_there_is_a_miss(self, tier):
        assert tier.find_bundle(DIGEST, max_bytes=100) is None
        assert tier.find_index("ffn_gelu") is None
        tier.put_bundle(DIGEST, DATA)
        assert tier.find_bundle(OTHER, max_bytes=len(DATA)) is None

    def test_what_is_larger_than_the_bound_is_a_miss_and_no_trouble(self, tier):
        tier.put_bundle(DIGEST, DATA)
        assert tier.find_bundle(DIGEST, max_bytes=len(DATA) - 1) is None
        assert tier.find_bundle(DIGEST, max_bytes=len(DATA)) == DATA

    def test_the_newest_index_is_found(self, tier):
        tier.put_index("ffn_gelu", 1, b"first")
        assert tier.find_index("ffn_gelu") == b"first"
        tier.put_index("ffn_gelu", 12, b"twelfth")
        assert tier.find_index("ffn_gelu") == b"twelfth"
        assert tier.find_index("ffn") is None

    def test_a_late_older_index_does_not_hide_a_newer_one(self, tier):
        tier.put_index("ffn_gelu", 12, b"twelfth")
        tier.put_index("ffn_gelu", 2, b"second")
        assert tier.find_index("ffn_gelu") == b"twelfth"

    def test_beyond_the_last_rank_there_is_nothing(self, tier):
        tier.put_index("ffn_gelu", 1, b"first")
        assert tier.find_index("ffn_gelu", rank=1) is None

    def test_dropping_what_is_not_there_is_no_trouble(self, tier):
        tier.drop_bundle(DIGEST)
        tier.put_bundle(DIGEST, DATA)
        tier.drop_bundle(DIGEST)
        assert tier.find_bundle(DIGEST, max_bytes=len(DATA)) in {None, DATA}

    def test_a_server_that_is_gone_is_an_exception(self, gone):
        with pytest.raises(Exception, match=r"."):
            gone.find_bundle(DIGEST, max_bytes=10)
        with pytest.raises(Exception, match=r"."):
            gone.find_index("ffn_gelu")
