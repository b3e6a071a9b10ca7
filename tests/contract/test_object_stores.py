import secrets
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote_plus, urlsplit

import pytest

from morph_kernels.identity import ObjectKey
from morph_kernels.store import (
    ObjectNotFoundError,
    StoreRefusedError,
    StoreUnavailableError,
    StoreUrlError,
    open_store,
)
from morph_kernels.store.fallback import FallbackStore
from morph_kernels.store.keys import blob_key, bundle_key
from tests.contract.object_store import ObjectStoreContract
from tests.support.cutting_proxy import cutting_proxy
from tests.support.flush_witness import flushed_by

KEY = ObjectKey("a/b/c")


class TestMemoryStore(ObjectStoreContract):
    @pytest.fixture
    def store(self):
        return open_store("memory://")


class TestFallbackStore(ObjectStoreContract):
    @pytest.fixture
    def store(self):
        return FallbackStore(open_store("memory://"), open_store("memory://"))

    def test_a_bundle_that_left_the_first_is_read_from_the_second_and_deleted_from_both(self, store):
        key, other = bundle_key("default", "a" * 64), blob_key("default", "a" * 64)
        store.second.put_if_absent(key, b"cold")
        store.second.put_if_absent(other, b"no bundle")

        assert (store.get(key, max_bytes=9), store.get_range(key, offset=1, length=2)) == (b"cold", b"ol")
        assert store.size(key) == len(b"cold")
        with pytest.raises(ObjectNotFoundError):
            store.get(other, max_bytes=9)
        store.first.put_if_absent(key, b"warm")
        assert store.get(key, max_bytes=9) == b"warm"
        store.delete(key)
        with pytest.raises(ObjectNotFoundError):
            store.get(key, max_bytes=9)


class TestLocalFolderStore(ObjectStoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return open_store((tmp_path / "not yet there" / "objects").as_uri())

    def test_a_staged_upload_left_by_a_crash_is_not_an_object(self, tmp_path):
        store = open_store(tmp_path.as_uri())
        store.put_if_absent(KEY, b"whole")
        (tmp_path / "a/b/d#1").write_bytes(b"torn")
        assert [info.key for info in store.list_objects("a")] == [KEY]
        with pytest.raises(ObjectNotFoundError):
            store.get(ObjectKey("a/b/d"), max_bytes=10)

    def test_a_put_killed_at_any_moment_leaves_the_whole_object_or_none(self, tmp_path):
        script = (
            "import sys; from morph_kernels.store import open_store; s = open_store(sys.argv[1]); print(flush=True)\n"
            "for n in range(10**6): s.put_if_absent(f'k/{n}', bytes(200_000))"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", script, tmp_path.as_uri()], env={"PYTHONPATH": "kernels"}, stdout=subprocess.PIPE
        )
        child.stdout.readline()
        store = open_store(tmp_path.as_uri())
        while sum(1 for _ in store.list_objects("k")) < 20:
            assert child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        assert {info.size_bytes for info in store.list_objects("k")} == {200_000}

    @pytest.mark.parametrize("stored", [True, False], ids=["the winner", "the loser"])
    def test_an_acknowledged_put_was_flushed_with_its_folders(self, tmp_path, stored):
        objects = tmp_path / "objects"
        if not stored:
            open_store(objects.as_uri()).put_if_absent(KEY, b"x")
        script = (
            "import sys; from morph_kernels.store import open_store; s = open_store(sys.argv[1])\n"
            "print(s.put_if_absent('a/b/c', b'x'), flush=True)"
        )
        flushed = flushed_by(script, objects.as_uri(), folder=tmp_path)
        wanted = [str(path) for path in (objects / "a/b/c", objects / "a/b", objects / "a", objects)]
        assert [line for line in flushed if line in {*wanted, str(stored)}] == [*wanted, str(stored)]

    def test_a_folder_where_an_object_should_be_is_an_error_and_not_a_success(self, tmp_path):
        store = open_store(tmp_path.as_uri())
        store.put_if_absent(KEY, b"x")
        with pytest.raises(StoreUnavailableError):
            store.put_if_absent(ObjectKey("a/b"), b"x")


class TestS3Store(ObjectStoreContract):
    @pytest.fixture
    def store(self, seaweedfs):
        return open_store(seaweedfs.url("morph", secrets.token_hex(8)), timeout_s=10)

    def test_a_wrong_secret_is_refused_without_saying_it(self, seaweedfs):
        url = seaweedfs.url("morph").replace(seaweedfs.secret_access_key, "0" * 32)
        store = open_store(url)
        with pytest.raises(StoreRefusedError) as caught:
            store.get(KEY, max_bytes=10)
        assert caught.value.retryable is False
        assert "0" * 32 not in f"{caught.value!r} {store!r}"

    @pytest.mark.parametrize("after_bytes", [100, 2_000, 500_000, 999_000])
    def test_an_upload_that_is_cut_is_unavailable_and_never_visible(self, seaweedfs, after_bytes):
        prefix, data = secrets.token_hex(8), secrets.token_bytes(1_000_000)
        url = seaweedfs.url("morph", prefix)
        direct = open_store(url)
        with cutting_proxy(urlsplit(seaweedfs.endpoint).port, after_bytes=after_bytes) as port:
            cut = open_store(url.replace(quote_plus(seaweedfs.endpoint), f"http://127.0.0.1:{port}"), timeout_s=1)
            with pytest.raises(StoreUnavailableError):
                cut.put_if_absent(KEY, data)
        with pytest.raises(ObjectNotFoundError):
            direct.size(KEY)
        assert list(direct.list_objects("")) == []
        assert direct.put_if_absent(KEY, data) is True
        assert direct.get(KEY, max_bytes=len(data)) == data

    def test_an_upload_that_is_not_cut_passes_the_same_proxy(self, seaweedfs):
        url = seaweedfs.url("morph", secrets.token_hex(8))
        with cutting_proxy(urlsplit(seaweedfs.endpoint).port, after_bytes=10_000_000) as port:
            store = open_store(url.replace(quote_plus(seaweedfs.endpoint), f"http://127.0.0.1:{port}"))
            assert store.put_if_absent(KEY, bytes(1_000_000)) is True
            del store
        assert open_store(url).size(KEY) == 1_000_000

    def test_prefixes_keep_apart(self, seaweedfs):
        one, other = (open_store(seaweedfs.url("morph", secrets.token_hex(8))) for _ in range(2))
        one.put_if_absent(KEY, b"x")
        assert list(other.list_objects("")) == []
        assert [info.key for info in one.list_objects("")] == [KEY]

    def test_a_listing_goes_on_past_one_page(self, store):
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda number: store.put_if_absent(ObjectKey(f"many/{number:05d}"), b""), range(1005)))
        assert sum(1 for _ in store.list_objects("many")) == 1005


def dead_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def s3_url(port):
    return f"s3://morph/x?endpoint=http://127.0.0.1:{port}&allow_http=true&access_key_id=a&secret_access_key=b"


OPERATIONS = {
    "get": lambda store: store.get(KEY, max_bytes=10),
    "put": lambda store: store.put_if_absent(KEY, b"x"),
    "list": lambda store: list(store.list_objects("a")),
    "range": lambda store: store.get_range(KEY, offset=0, length=1),
}


@pytest.mark.timed
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_server_that_is_not_there_is_unavailable_within_the_time_out(operation):
    store = open_store(s3_url(dead_port()), timeout_s=1.0)
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError) as caught:
        operation(store)
    assert time.monotonic() - began < 2.5
    assert caught.value.retryable is True


@pytest.mark.timed
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_a_server_that_never_answers_is_unavailable_within_the_time_out(operation):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        store = open_store(s3_url(silent.getsockname()[1]), timeout_s=0.5)
        began = time.monotonic()
        with pytest.raises(StoreUnavailableError):
            operation(store)
        assert time.monotonic() - began < 2.5


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/var/objects",
        "http://host/x?secret_access_key=hunter2",
        "file://host/x",
        "file:relative",
        "s3:///x",
        "s3://bucket?passwd=hunter2",
    ],
)
def test_a_url_that_is_no_store_is_refused_without_repeating_it(url):
    with pytest.raises(StoreUrlError) as caught:
        open_store(url)
    assert "hunter2" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreUrlError, match="cannot be opened"):
        open_store((tmp_path / "file" / "x").as_uri())


def test_importing_the_store_imports_no_client():
    script = "import sys, morph_kernels.store, morph_kernels.store.keys; sys.exit('obstore' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, env={"PYTHONPATH": "kernels"})
