"""Files that only this user can have written: no links, no strangers, no more bytes than allowed."""

import os
from pathlib import Path

import pytest

from morph_kernels.cache.private_file import NotPrivateError, read_bounded
from morph_kernels.durable_file import write_private


def test_neither_links_nor_strangers_files_are_read(tmp_path):
    write_private(tmp_path / "mine", b"data")
    assert read_bounded(tmp_path / "mine", 100) == b"data"
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    strange = tmp_path / "strange"
    strange.write_bytes(b"data")
    if os.geteuid() == 0:
        os.chown(strange, 65534, 65534)
    else:
        strange = Path("/etc/passwd")
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "link", strange, tmp_path / "pipe", tmp_path):
        with pytest.raises(NotPrivateError):
            read_bounded(path, 100)


def test_a_link_in_the_way_is_not_written_through(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(FileExistsError):
        write_private(tmp_path / "link", b"data")
    assert not (tmp_path / "target").exists()


def test_a_read_stops_one_byte_beyond_its_bound(tmp_path):
    write_private(tmp_path / "file", bytes(1000))
    assert len(read_bounded(tmp_path / "file", 1000)) == 1000
    assert len(read_bounded(tmp_path / "file", 10)) == 11
