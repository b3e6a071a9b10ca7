import os
import resource
import stat
from contextlib import contextmanager

import pytest

from morph_kernels.durable_file import create_file, open_replacement, replace_file, write_private, write_volatile


@contextmanager
def disk_that_takes(size_bytes):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def replace_in_pieces(path, data):
    with open_replacement(path) as file:
        for start in range(0, len(data), 2):
            file.write(data[start : start + 2])


@pytest.mark.parametrize("write", [write_private, write_volatile, create_file, replace_file, replace_in_pieces])
def test_a_written_file_is_its_owners_alone_under_any_umask(tmp_path, write):
    before = os.umask(0)
    try:
        write(tmp_path / "file", b"data")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600
    assert (tmp_path / "file").read_bytes() == b"data"
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize("write", [write_private, write_volatile, create_file])
def test_a_new_file_never_replaces_one(tmp_path, write):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


@pytest.mark.parametrize("write", [replace_file, replace_in_pieces])
def test_a_full_disk_leaves_the_old_file_and_no_draft(tmp_path, write):
    write(tmp_path / "file", b"old")
    with disk_that_takes(1000), pytest.raises(OSError, match="too large"):
        write(tmp_path / "file", bytes(5000))
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names_in(tmp_path) == ["file"]


def test_a_full_disk_leaves_no_half_of_a_new_file(tmp_path):
    with disk_that_takes(1000), pytest.raises(OSError, match="too large"):
        create_file(tmp_path / "file", bytes(5000))
    assert names_in(tmp_path) == []
