"""What a disk remembers of its kernels: appended by many, folded by one, and never a reason to fail."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morph_kernels.cache.use_log import Use, UseLog, fold_uses
from tests.support.command_line import clean_environment

A, B = "a" * 64, "b" * 64
MANY = """
import sys
from pathlib import Path
from morph_kernels.cache.use_log import UseLog
for _ in range(500):
    UseLog(Path(sys.argv[1])).used("a" * 64)
"""


@pytest.fixture
def log(tmp_path):
    return UseLog(tmp_path / "uses")


def test_it_tells_how_often_what_it_cost_and_where_the_clock_stood(log):
    log.came(A, 0.25)
    log.used(A)
    log.came(B, 2.0)
    log.left([B], 0.5)
    log.used(A)

    uses = log.read()

    assert uses.kernels == {A: Use(3, 0.25, 0.5)}
    assert uses.clock == 0.5
    assert uses.of(B) == Use(1, 1.0, 0.0)


def test_what_comes_again_begins_again(log):
    log.came(A, 1.0)
    log.used(A)
    log.left([A], 0.75)
    log.came(A, 3.0)
    assert log.read().kernels == {A: Use(1, 3.0, 0.75)}


def test_many_processes_append_and_nothing_is_lost(log, tmp_path):
    writers = [
        subprocess.Popen([sys.executable, "-c", MANY, str(tmp_path / "uses")], env=clean_environment())
        for _ in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    assert log.read().kernels[A].uses == 2000


def test_folded_it_says_the_same_in_fewer_bytes(log, tmp_path):
    log.came(B, 0.125)
    log.left([], 0.25)
    for _ in range(4000):
        log.used(A)
    before, size = log.read(), (tmp_path / "uses").stat().st_size

    log.fold()

    assert log.read() == before
    assert (tmp_path / "uses").stat().st_size < size / 100
    assert (tmp_path / "uses").stat().st_mode & 0o777 == 0o600


@given(st.text(max_size=200), st.lists(st.floats(), max_size=3))
def test_lines_that_say_nothing_are_passed_over(noise, numbers):
    lines = [noise, *(f"came {B} {number}" for number in numbers if not 0 <= number < float("inf")), f"clock {noise}"]
    assert A not in fold_uses([f"came {A}", f"state {A} x 1 1", f"used {A[:-1]}"]).kernels
    assert fold_uses([*lines, f"came {A} 1.5"]).kernels[A].rebuild_s == 1.5
    assert B not in fold_uses(lines).kernels


def test_a_line_that_a_crash_cut_costs_that_line_alone(log, tmp_path):
    log.came(A, 1.0)
    with (tmp_path / "uses").open("a") as file:
        file.write(f"used {A[:20]}\nused {A}\nused")
    assert log.read().kernels[A].uses == 2


def test_a_log_that_another_could_have_changed_is_not_believed(log, tmp_path):
    (tmp_path / "elsewhere").write_text(f"came {A} 9.0\n")
    (tmp_path / "uses").symlink_to(tmp_path / "elsewhere")
    log.used(A)
    assert log.read().kernels == {}
    assert (tmp_path / "elsewhere").read_text() == f"came {A} 9.0\n"


def test_where_it_cannot_be_written_nothing_is_raised(tmp_path):
    log = UseLog(tmp_path / "missing" / "uses")
    log.came(A, 1.0)
    log.fold()
    assert log.read().kernels == {}
    assert list(tmp_path.iterdir()) == []
