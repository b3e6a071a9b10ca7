"""What a death in a first call proves."""

from pathlib import Path

import pytest

from morph_kernels.cache.crashes import Crash, is_proof, parse_signal
from morph_kernels.identity import KernelDigest

DIGEST = KernelDigest("a" * 64)
FRAME = b'  File "/lib/first_calls.py", line 12 in run\n'
OTHER = b'  File "/home/first_calls.py.bak", line 12 in run\n  File "/x/loader.py", line 1 in run\n'


def dump(current, other=b"", *, head=b"Fatal Python error: Illegal instruction\n\n"):
    threads = b"Thread 0x02 (most recent call first):\n" + other + b"\n" if other else b""
    mine = b"Current thread 0x01 (most recent call first):\n" + current if current is not None else b""
    return head + threads + mine + b"\n\nExtension modules: x (total: 1)\n"


@pytest.mark.parametrize(
    ("deaths", "proof"),
    [
        ([], False),
        ([(0.0, "Aborted")], True),
        ([(0.0, None)], False),
        ([(0.0, None), (0.4, None), (0.9, None)], False),
        ([(0.0, None), (60.0, None)], True),
        ([(60.0, None), (0.0, None)], True),
        ([(0.0, None), (0.0, "Segmentation fault")], True),
    ],
)
def test_one_death_by_a_signal_of_its_own_or_two_by_anything_are_a_proof(deaths, proof):
    assert is_proof([Crash(DIGEST, at, named, Path("marker")) for at, named in deaths]) is proof


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (dump(FRAME), "Illegal instruction"),
        (dump(FRAME, OTHER), "Illegal instruction"),
        (dump(OTHER, FRAME), None),
        (dump(None, FRAME), "Illegal instruction"),
        (dump(None, OTHER), None),
        (b"", None),
        (dump(FRAME)[:20], None),
        (dump(FRAME, head=b"Timeout!\n\n"), None),
        (b"\xff" * 100, None),
    ],
    ids=[
        "here",
        "here beside others",
        "another thread's",
        "a thread without Python",
        "elsewhere",
        "nothing",
        "cut",
        "no error",
        "noise",
    ],
)
def test_a_signal_counts_where_the_thread_that_died_was_in_the_call(text, named):
    assert parse_signal(text, "first_calls.py", "run") == named
