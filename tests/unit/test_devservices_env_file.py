"""Our block in a project's `.env`, and nobody else's bytes."""

import pytest
from dotenv import dotenv_values
from hypothesis import assume, given
from hypothesis import strategies as st

from morph_assets.devservices.env_file import EnvFileError, remove_env_block, write_env_block

OURS = {"MORPH_HOME": "/home/x y/.morph", "URL": "postgresql://a:b'c\\d@/m?host=/r&port=5432"}


def test_the_block_is_read_back_by_dotenv(tmp_path):
    path = tmp_path / ".env"

    write_env_block(path, OURS)

    assert dict(dotenv_values(path)) == OURS
    assert path.stat().st_mode & 0o777 == 0o600


@given(before=st.binary(max_size=60), after=st.binary(max_size=60))
def test_every_other_byte_stays_as_it_is(tmp_path_factory, before, after):
    assume(not any(b"morph" in text for text in (before, after)))  # a marker would be ours
    path = tmp_path_factory.mktemp("env") / ".env"
    before += b"\n"
    path.write_bytes(before)
    write_env_block(path, OURS)
    path.write_bytes(path.read_bytes() + after)

    write_env_block(path, OURS | {"MORPH_HOME": "/elsewhere"})
    rewritten = path.read_bytes()
    remove_env_block(path)

    assert rewritten.startswith(before)
    assert rewritten.endswith(after)
    assert path.read_bytes() == before + after


def test_writing_the_same_again_does_not_touch_the_file(tmp_path):
    path = tmp_path / ".env"
    write_env_block(path, OURS)
    before = path.stat()

    write_env_block(path, OURS)

    assert path.stat().st_ino == before.st_ino


def test_a_readable_file_becomes_private_and_a_link_stays_a_link(tmp_path):
    real, link = tmp_path / "real", tmp_path / ".env"
    real.write_text("A=1\n")
    real.chmod(0o644)
    link.symlink_to(real)

    write_env_block(link, OURS)

    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    assert dotenv_values(real)["A"] == "1"


def test_a_lost_marker_is_refused_and_nothing_is_changed(tmp_path):
    path = tmp_path / ".env"
    write_env_block(path, OURS)
    damaged = path.read_bytes().replace(b"# <<< morph <<<\n", b"")
    path.write_bytes(damaged)

    with pytest.raises(EnvFileError, match="marker"):
        write_env_block(path, OURS)

    assert path.read_bytes() == damaged


def test_removing_from_a_file_without_our_block_changes_nothing(tmp_path):
    path = tmp_path / ".env"
    path.write_bytes(b"A=1")

    remove_env_block(path)

    assert path.read_bytes() == b"A=1"
