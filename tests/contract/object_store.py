"""What every object store adapter must do; subclass `ObjectStoreContract` and give it a `store` fixture."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from morph_kernels.identity import ObjectKey
from morph_kernels.store import ObjectInfo, ObjectNotFoundError, ObjectTooLargeError, ObjectTruncatedError
from morph_kernels.store.keys import InvalidKeyError

KEY = ObjectKey("tenants/default/blobs/aa/one.bin")
DATA = bytes(range(256)) * 40


class ObjectStoreContract:
    @pytest.fixture
    def store(self):
        raise NotImplementedError

    def test_a_get_after_a_put_sees_it(self, store):
        assert store.put_if_absent(KEY, DATA) is True
        assert store.get(KEY, max_bytes=len(DATA)) == DATA
        assert store.size(KEY) == len(DATA)

    def test_a_put_takes_a_view_without_wanting_its_own_bytes(self, store):
        assert store.put_if_absent(KEY, memoryview(DATA)[10:20])
        assert store.get(KEY, max_bytes=100) == DATA[10:20]

    def test_an_empty_object_is_an_object(self, store):
        assert store.put_if_absent(KEY, b"")
        assert store.get(KEY, max_bytes=0) == b""
        assert store.size(KEY) == 0

    def test_a_second_put_changes_nothing_and_says_so(self, store):
        assert store.put_if_absent(KEY, DATA) is True
        assert store.put_if_absent(KEY, b"other") is False
        assert store.get(KEY, max_bytes=len(DATA)) == DATA

    def test_of_many_puts_at_once_exactly_one_wins_and_its_bytes_stay(self, store):
        barrier = threading.Barrier(8)

        def put(number):
            barrier.wait()
            return store.put_if_absent(KEY, bytes([number]) * 50_000)

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(put, range(8)))
        assert won.count(True) == 1
        assert store.get(KEY, max_bytes=50_000) == bytes([won.index(True)]) * 50_000

    def test_a_reader_during_a_put_sees_all_or_nothing(self, store):
        data = bytes(3_000_000)
        started, seen = threading.Event(), []

        def read():
            started.set()
            while not seen:
                try:
                    seen.append(len(store.get(KEY, max_bytes=len(data))))
                except ObjectNotFoundError:
                    continue

        reader = threading.Thread(target=read)
        reader.start()
        started.wait()
        store.put_if_absent(KEY, data)
        reader.join()
        assert seen == [len(data)]

    def test_an_object_larger_than_allowed_is_not_read(self, store):
        store.put_if_absent(KEY, DATA)
        with pytest.raises(ObjectTooLargeError) as caught:
            store.get(KEY, max_bytes=len(DATA) - 1)
        assert caught.value.size_bytes == len(DATA)

    def test_a_range_is_exactly_the_bytes_asked_for(self, store):
        store.put_if_absent(KEY, DATA)
        assert store.get_range(KEY, offset=0, length=1) == DATA[:1]
        assert store.get_range(KEY, offset=1000, length=300) == DATA[1000:1300]
        assert store.get_range(KEY, offset=len(DATA) - 5, length=5) == DATA[-5:]
        assert store.get_range(KEY, offset=7, length=0) == b""

    @pytest.mark.parametrize(("offset", "length"), [(len(DATA) - 5, 6), (len(DATA), 1), (10**9, 10)])
    def test_a_range_past_the_end_is_an_error_and_never_short(self, store, offset, length):
        store.put_if_absent(KEY, DATA)
        with pytest.raises(ObjectTruncatedError):
            store.get_range(KEY, offset=offset, length=length)

    def test_what_is_not_there_is_not_found(self, store):
        with pytest.raises(ObjectNotFoundError):
            store.get(KEY, max_bytes=10)
        with pytest.raises(ObjectNotFoundError):
            store.get_range(KEY, offset=0, length=1)
        with pytest.raises(ObjectNotFoundError):
            store.size(KEY)

    def test_a_listing_holds_whole_segments_only(self, store):
        for name in ("a/b/1", "a/b/2", "a/bc/3", "d/4"):
            store.put_if_absent(ObjectKey(name), b"xyz")
        expected = {ObjectInfo(ObjectKey("a/b/1"), 3), ObjectInfo(ObjectKey("a/b/2"), 3)}
        assert set(store.list_objects("a/b")) == set(store.list_objects("a/b/")) == expected
        assert len(set(store.list_objects(""))) == 4
        assert list(store.list_objects("nothing/here")) == []

    def test_a_listing_can_begin_after_a_key(self, store):
        for number in range(5):
            store.put_if_absent(ObjectKey(f"index/{number:020d}"), b"x")
        after = ObjectKey(f"index/{2:020d}")
        assert sorted(info.key for info in store.list_objects("index", after=after)) == [
            f"index/{3:020d}",
            f"index/{4:020d}",
        ]

    def test_a_deleted_object_is_gone_and_may_be_deleted_again(self, store):
        store.put_if_absent(KEY, DATA)
        store.delete(KEY)
        store.delete(KEY)
        with pytest.raises(ObjectNotFoundError):
            store.size(KEY)
        assert store.put_if_absent(KEY, b"again") is True

    @pytest.mark.parametrize(
        "key", ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "a/./b", "a\\b", "a b", "é", "x" * 600]
    )
    def test_a_key_that_is_no_plain_path_never_reaches_the_backend(self, store, key):
        for call in (
            lambda: store.put_if_absent(key, b"x"),
            lambda: store.get(key, max_bytes=1),
            lambda: store.get_range(key, offset=0, length=1),
            lambda: store.delete(key),
            lambda: store.size(key),
        ):
            with pytest.raises(InvalidKeyError):
                call()
