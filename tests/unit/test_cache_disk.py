"""The disk tier on a real disk: private, whole or absent, within its budget, whoever else writes or dies."""

import errno
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.disk_folder import DiskBusyError, DiskFolder
from morph_kernels.cache.disk_index import DiskIndex
from morph_kernels.cache.disk_tier import DiskBudgetError, DiskTier
from morph_kernels.cache.private_file import NotPrivateError
from morph_kernels.reasons import Reason
from tests.support.artifacts import make_bundle, make_manifest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"PYTHONPATH": f"{ROOT}:{ROOT / 'kernels'}", "PATH": os.environ["PATH"]}


@pytest.fixture
def folder(tmp_path):
    return DiskFolder(tmp_path / "cache", tenant="default")


@pytest.fixture
def disk(folder):
    return DiskTier(folder)


def kernels(count, size_bytes=1000):
    """Return kernels of nearly equal size."""
    found = []
    for number in range(count):
        libraries = {"forward": bytes([number]) * size_bytes, "backward": b"b" * 10}
        manifest = make_manifest(forward=libraries["forward"], backward=libraries["backward"])
        found.append((manifest, KernelBundle(manifest.to_bytes(), libraries)))
    return found


def test_what_was_put_is_found_whole(disk):
    manifest, bundle = make_manifest(), make_bundle()
    assert disk.find(manifest.digest) is None
    disk.put(manifest, bundle)
    entry = disk.find(manifest.digest)
    assert entry.bundle == bundle
    assert {role: path.read_bytes() for role, path in entry.libraries.items()} == bundle.libraries
    assert disk.digests() == [manifest.digest]


def test_everything_is_this_users_alone(disk, folder):
    disk.put(make_manifest(), make_bundle())
    DiskIndex(folder, root="root").put("ffn_gelu", 1, b"envelope")
    for path in [folder.path, *folder.path.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_no_lock_and_no_staging_is_left(disk, folder):
    for manifest, bundle in kernels(3):
        with disk.fetching(manifest.digest, Deadline(1)) as mine:
            assert mine
            disk.put(manifest, bundle)
    DiskIndex(folder, root="root").put("ffn_gelu", 1, b"envelope")
    assert list((folder.path / "locks").iterdir()) == []
    assert list(folder.path.rglob(".*")) == []


def test_a_second_put_changes_nothing(disk, folder):
    manifest, bundle = make_manifest(), make_bundle()
    disk.put(manifest, bundle)
    before = {path: path.stat().st_ino for path in (folder.path / "kernels").rglob("*")}
    disk.put(manifest, bundle)
    assert {path: path.stat().st_ino for path in (folder.path / "kernels").rglob("*")} == before


@pytest.mark.parametrize("open_to", ["cache", "tenant", "kernels"])
def test_a_cache_that_others_can_write_to_is_not_used(disk, folder, open_to):
    disk.put(make_manifest(), make_bundle())
    place = {"cache": folder.path.parent, "tenant": folder.path, "kernels": folder.path / "kernels"}[open_to]
    place.chmod(0o777)
    other = DiskTier(DiskFolder(folder.path.parent, tenant="default"))
    with pytest.raises(NotPrivateError):
        other.find(make_manifest().digest)
    with pytest.raises(NotPrivateError):
        other.put(make_manifest(), make_bundle())


def test_a_link_instead_of_the_tenants_folder_is_not_followed(disk, folder, tmp_path):
    disk.put(make_manifest(), make_bundle())
    folder.path.rename(tmp_path / "elsewhere")
    folder.path.symlink_to(tmp_path / "elsewhere")
    other = DiskTier(DiskFolder(folder.path.parent, tenant="default"))
    with pytest.raises(NotPrivateError):
        other.find(make_manifest().digest)


def test_the_budget_is_never_passed_and_what_is_found_again_stays(folder):
    found = kernels(6)
    size = found[0][1].size_bytes
    disk = DiskTier(folder, budget_bytes=3 * size + 10)
    dropped = 0
    for manifest, bundle in found:
        dropped += disk.put(manifest, bundle).dropped
        # The first one is used all the time.
        assert disk.find(found[0][0].digest) is not None
        assert sum(kernel.size_bytes for kernel in disk.kernels()) <= 3 * size + 10
    assert (len(disk.digests()), dropped) == (3, 3)
    assert found[0][0].digest in disk.digests()


def test_what_took_long_to_get_stays_longer(folder):
    (slow, slow_bundle), *others = kernels(3)
    disk = DiskTier(folder, budget_bytes=2 * slow_bundle.size_bytes + 10)
    disk.put(slow, slow_bundle, fetch_s=5.0)
    for manifest, bundle in others:
        disk.put(manifest, bundle, fetch_s=0.02)
    assert slow.digest in disk.digests()


def test_what_must_stay_stays_and_what_does_not_fit_is_refused(folder):
    (one, one_bundle), (two, two_bundle) = kernels(2)
    disk = DiskTier(folder, budget_bytes=one_bundle.size_bytes + 100)
    disk.put(one, one_bundle)
    with pytest.raises(DiskBudgetError):
        disk.put(two, two_bundle, keep={one.digest: "pinned"})
    assert disk.digests() == [one.digest]
    disk.put(two, two_bundle)
    assert disk.digests() == [two.digest]


def test_what_a_crash_left_is_swept_by_the_next_write(disk, folder):
    left = folder.make("kernels") / ".deadbeef"
    left.mkdir()
    (left / "forward-x.so").write_bytes(bytes(1000))
    disk.put(make_manifest(), make_bundle())
    assert list((folder.path / "kernels").glob(".*")) == []


def test_an_entry_without_its_files_is_found_empty_so_that_it_is_judged_damaged(disk, folder):
    digest = make_manifest().digest
    (folder.make("kernels") / digest).mkdir()
    assert disk.find(digest).bundle == KernelBundle(b"", {})


def test_the_quarantine_keeps_the_last_few(disk, folder):
    found = kernels(20, size_bytes=10)
    for manifest, bundle in found:
        disk.put(manifest, bundle)
        disk.quarantine(manifest.digest, Reason.DIGEST_MISMATCH)
    kept = {path.name.partition(".")[0] for path in (folder.path / "quarantine").iterdir()}
    assert kept == {manifest.digest for manifest, _ in found[-16:]}
    assert disk.digests() == []


def test_a_full_disk_leaves_nothing_half_written(disk, folder):
    manifest, bundle = kernels(1, size_bytes=200_000)[0]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OSError) as caught:  # noqa: PT011 - the number is checked
            disk.put(manifest, bundle)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert caught.value.errno == errno.EFBIG
    assert disk.find(manifest.digest) is None
    assert list((folder.path / "kernels").iterdir()) == []
    disk.put(manifest, bundle)
    assert disk.find(manifest.digest).bundle == bundle


def test_what_was_set_aside_counts_and_goes_before_any_kernel(folder):
    found = kernels(5)
    size = found[0][1].size_bytes
    disk = DiskTier(folder, budget_bytes=3 * size + 10)
    for manifest, bundle in found[:4]:
        disk.put(manifest, bundle)
        if manifest is not found[0][0]:
            disk.quarantine(manifest.digest, Reason.MALFORMED)
        assert disk_usage(folder.path / "kernels") + disk_usage(folder.path / "quarantine") <= 3 * size + 10
    assert disk.put(*found[4]).dropped == 0
    assert disk.digests() == sorted([found[0][0].digest, found[4][0].digest])
    (kept,) = (folder.path / "quarantine").iterdir()
    assert kept.name.startswith(found[3][0].digest)


def disk_usage(folder):
    return sum(path.lstat().st_size for path in folder.rglob("*.so")) + sum(
        path.lstat().st_size for path in folder.rglob("manifest.json")
    )


def test_a_writer_that_is_stopped_holds_others_up_for_a_second_only(disk, folder):
    with folder.lock("write-kernels", Deadline(1)), pytest.raises(DiskBusyError):
        disk.put(make_manifest(), make_bundle())
    disk.put(make_manifest(), make_bundle())


PUT_FOREVER = """
import sys
from pathlib import Path
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.cache.disk_tier import DiskTier
from tests.unit.test_cache_disk import kernels
disk = DiskTier(DiskFolder(Path(sys.argv[1]), tenant="default"))
found = kernels(20, size_bytes=300_000)
print(flush=True)
while True:
    for manifest, bundle in found:
        disk.put(manifest, bundle)
    for manifest, _ in found:
        disk.drop(manifest.digest)
"""


def test_a_put_killed_at_any_moment_leaves_the_whole_entry_or_none(disk, folder):
    found = kernels(20, size_bytes=300_000)
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", PUT_FOREVER, str(folder.path.parent)],
            env=ENVIRONMENT,
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        child.stdout.readline()
        while not disk.digests():
            assert child.poll() is None
        child.send_signal(signal.SIGKILL)
        child.wait()
        for manifest, bundle in found:
            entry = disk.find(manifest.digest)
            assert entry is None or entry.bundle == bundle
    for manifest, bundle in found:
        disk.put(manifest, bundle)
    assert len(disk.digests()) == 20
    assert list((folder.path / "kernels").glob(".*")) == []


PUT_ALL = """
import sys
from pathlib import Path
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.cache.disk_index import DiskIndex
from morph_kernels.cache.disk_tier import DiskTier
from tests.unit.test_cache_disk import kernels
folder = DiskFolder(Path(sys.argv[1]), tenant="default")
disk, index = DiskTier(folder), DiskIndex(folder, root="root")
generations = range(int(sys.argv[2]), 61, 2)
print(flush=True)
sys.stdin.readline()
for (manifest, bundle), generation in zip(kernels(30), generations):
    disk.put(manifest, bundle)
    index.put("ffn_gelu", generation, b"%d" % generation)
    print(index.find("ffn_gelu").generation)
"""


def test_two_processes_that_put_at_once_agree_and_no_generation_goes_back(disk, folder):
    children = [
        subprocess.Popen(
            [sys.executable, "-c", PUT_ALL, str(folder.path.parent), str(first)],
            env=ENVIRONMENT,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for first in (1, 2)
    ]
    for child in children:
        child.stdout.readline()
    for child in children:
        child.stdin.write("\n")
        child.stdin.flush()
    seen = [[int(line) for line in child.communicate()[0].split()] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert all(numbers == sorted(numbers) and len(numbers) == 30 for numbers in seen)
    assert DiskIndex(folder, root="root").find("ffn_gelu").envelope == b"60"
    for manifest, bundle in kernels(30):
        assert disk.find(manifest.digest).bundle == bundle


def test_an_older_index_never_replaces_a_newer_one(folder):
    index = DiskIndex(folder, root="root")
    assert (index.find("ffn_gelu"), index.highest_generation("ffn_gelu")) == (None, 0)
    index.put("ffn_gelu", 7, b"seven")
    index.put("ffn_gelu", 6, b"six")
    found = index.find("ffn_gelu")
    assert (found.envelope, found.generation, index.highest_generation("ffn_gelu")) == (b"seven", 7, 7)
    assert 0 <= found.age_s < 60


def test_an_index_that_a_turned_back_clock_dates_into_the_future_is_old(folder):
    index = DiskIndex(folder, root="root")
    index.put("ffn_gelu", 7, b"seven")
    os.utime(folder.path / "index" / "root.ffn_gelu.index", (4e9, 4e9))
    assert index.find("ffn_gelu").age_s > 1e6
