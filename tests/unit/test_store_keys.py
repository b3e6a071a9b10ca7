import pytest

from morph_kernels.identity import BlobDigest, InvalidNameError, KernelDigest
from morph_kernels.store import keys

DIGEST = "ab" * 32


def test_every_key_is_a_key_of_its_tenant():
    built = [
        keys.blob_key("acme", BlobDigest(DIGEST)),
        keys.bundle_key("acme", KernelDigest(DIGEST)),
        keys.report_key("acme", BlobDigest(DIGEST)),
        keys.index_key("acme", "ffn_gelu", 7),
        keys.build_request_key("acme", DIGEST),
        keys.pack_key("acme", "run-1", "p1"),
        keys.checkpoint_manifest_key("acme", "run-1", "c1"),
        keys.commit_record_key("acme", "run-1", 3),
        keys.segment_key("acme", "log", 1, 3),
        keys.segment_key("acme", "security", 1, 3),
    ]
    assert len(set(built)) == len(built)
    assert all(keys.parse_key(key).startswith(keys.tenant_prefix("acme") + "/") for key in built)


def test_the_newest_index_has_the_greatest_key():
    generations = [0, 9, 10, 2**32, 2**32 + 1, 2**53 - 1]
    built = [keys.index_key("acme", "x", generation) for generation in generations]
    assert built == sorted(built)
    assert [keys.parse_index_generation(key) for key in built] == generations
    assert all(key.startswith(keys.index_prefix("acme", "x") + "/") for key in built)


def test_commit_records_order_by_timeline_then_sequence():
    built = [
        keys.commit_record_key("acme", "r", sequence, timeline=timeline)
        for timeline, sequence in [(0, 99), (1, 1), (1, 2)]
    ]
    assert built == sorted(built)


def test_segments_order_by_timeline_then_sequence_and_anchors_by_number():
    places = [(1, 9), (1, 10), (2, 5)]
    segments = [keys.segment_key("acme", "log", *place) for place in places]
    anchors = [keys.anchor_key(number) for number in (1, 9, 10)]
    assert (segments, anchors) == (sorted(segments), sorted(anchors))
    assert [keys.parse_segment_key(key) for key in segments] == places
    assert [keys.parse_anchor_number(key) for key in anchors] == [1, 9, 10]


@pytest.mark.parametrize("key", ["", "anchors/7", "tenants/a/log/1/7", "tenants/a/index/x/00000000000000000007"])
def test_what_is_no_segment_or_anchor_names_no_place(key):
    for parse in (keys.parse_segment_key, keys.parse_anchor_number):
        with pytest.raises(keys.InvalidKeyError):
            parse(key)


def test_a_key_says_its_content_and_its_timeline_where_it_has_one():
    blob, bundle = keys.blob_key("acme", BlobDigest(DIGEST)), keys.bundle_key("acme", KernelDigest(DIGEST))
    index = keys.index_key("acme", "x", (3 << 40) + 7)
    commit = keys.commit_record_key("acme", "r", 1, timeline=4)
    assert [keys.content_of(key) for key in (blob, bundle, index)] == [("blob", DIGEST), ("bundle", DIGEST), None]
    segment = keys.segment_key("acme", "log", 5, 9)
    assert [keys.timeline_of(key) for key in (index, commit, segment, blob)] == [3, 4, 5, None]


@pytest.mark.parametrize("tenant", ["", "..", "a/b", "A", "a" * 64, "é"])
def test_a_tenant_that_could_leave_its_folder_is_refused(tenant):
    with pytest.raises(InvalidNameError):
        keys.blob_key(tenant, BlobDigest(DIGEST))


@pytest.mark.parametrize("digest", ["", "../x", DIGEST.upper(), DIGEST[:-1], DIGEST + "\n"])
def test_what_is_no_digest_is_no_key(digest):
    with pytest.raises(keys.InvalidKeyError):
        keys.bundle_key("acme", KernelDigest(digest))


@pytest.mark.parametrize("generation", [-1, 10**20])
def test_a_number_that_would_break_the_order_is_refused(generation):
    with pytest.raises(keys.InvalidKeyError):
        keys.index_key("acme", "x", generation)


@pytest.mark.parametrize("key", ["tenants/a/index/x/7", "tenants/a/blobs/x/00000000000000000007", ""])
def test_what_is_no_index_key_has_no_generation(key):
    with pytest.raises(keys.InvalidKeyError):
        keys.parse_index_generation(key)
