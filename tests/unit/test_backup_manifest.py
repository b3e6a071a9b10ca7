"""The manifest of a backup, and the numbers of timelines that are begun from it."""

import json
import threading
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from morph_assets.archive.errors import BackupDamagedError
from morph_assets.archive.journal import JOURNAL_NAME, claim_timeline
from morph_assets.archive.manifest import (
    MANIFEST_NAME,
    OBJECTS_INDEX,
    BackupManifest,
    FileFacts,
    MissingObject,
    TenantHead,
    read_manifest,
)
from morph_assets.archive.objects import iter_saved
from morph_kernels.canonical import canonical_bytes

FACTS = FileFacts(3, "a" * 64)
MANIFEST = BackupManifest(
    created_at=datetime(2026, 11, 23, 13, 0, 20, tzinfo=UTC),
    schema_version="v0004",
    timeline=1,
    heads={"default": TenantHead(9, "b" * 64)},
    rows={"event": 9},
    files={"morph.dump": FACTS, "dagster.dump": FACTS, "objects.jsonl": FACTS, "trust/keys/root.pem": FACTS},
    object_count=2,
    object_bytes=10,
    with_keys=True,
    missing_count=1,
    missing=(MissingObject("tenants/default/blobs/aa/bb", "not found"),),
)


def write(folder, manifest):
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST_NAME).write_bytes(manifest.to_bytes())
    return folder


def test_what_is_written_is_read(tmp_path):
    assert read_manifest(write(tmp_path, MANIFEST)) == MANIFEST


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 2),
        ("files", {"morph.dump": {"size_bytes": 1, "sha256": "a" * 64}}),
        ("timeline", 0),
        ("rows", {"event": -1}),
        ("heads", {"default": {"seq": 1, "hash": "short"}}),
        ("stranger", 1),
    ],
)
def test_what_is_not_ours_is_refused(tmp_path, field, value):
    document = json.loads(MANIFEST.to_bytes()) | {field: value}
    (tmp_path / MANIFEST_NAME).write_bytes(canonical_bytes(document))
    with pytest.raises(BackupDamagedError):
        read_manifest(tmp_path)


@pytest.mark.parametrize("path", ["../outside.pem", "/etc/passwd.pem", "trust/../../x.pem", "trust//x.pem", "x"])
def test_a_path_that_leads_outside_is_refused(tmp_path, path):
    write(tmp_path, replace(MANIFEST, files={**MANIFEST.files, path: FACTS}))
    with pytest.raises(BackupDamagedError, match="files"):
        read_manifest(tmp_path)


def test_restores_at_once_begin_different_timelines(tmp_path):
    backups = [write(tmp_path / name, replace(MANIFEST, timeline=2)) for name in ("monday", "tuesday")]
    start, claimed = threading.Barrier(8), []

    def claim(place):
        start.wait()
        claimed.append(claim_timeline(backups[place % 2], above=1))

    threads = [threading.Thread(target=claim, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == list(range(3, 11))


def test_a_timeline_is_above_the_one_known_from_elsewhere(tmp_path):
    assert claim_timeline(write(tmp_path / "monday", MANIFEST), above=7) == 8


def test_a_journal_that_cannot_be_read_is_never_passed_over(tmp_path):
    backup = write(tmp_path / "monday", MANIFEST)
    (backup / JOURNAL_NAME).write_bytes(b"torn")
    with pytest.raises(BackupDamagedError, match=JOURNAL_NAME):
        claim_timeline(backup, above=1)
    assert (backup / JOURNAL_NAME).read_bytes() == b"torn"


def test_a_journal_larger_than_any_is_refused_before_it_is_read(tmp_path):
    backup = write(tmp_path / "monday", MANIFEST)
    with (backup / JOURNAL_NAME).open("wb") as journal:
        journal.truncate(2**42)  # a hole: takes no disk, and more memory than there is
    with pytest.raises(BackupDamagedError, match=JOURNAL_NAME):
        claim_timeline(backup, above=1)


def test_a_line_of_the_index_longer_than_any_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / OBJECTS_INDEX).open("wb") as index:
        index.truncate(2**26)
    tracemalloc.start()
    try:
        with pytest.raises(BackupDamagedError, match=OBJECTS_INDEX):
            next(iter_saved(tmp_path))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
