"""What a process left that died in a kernel's first call, and whether that speaks against the kernel. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from morph_kernels.identity import KernelDigest

# How long a kernel that crashed is not tried again.
REST_S = 24 * 3600.0
_NEEDED = 2
# The ranks of a job make their first calls together and are killed together: that is one death, not as many.
_TOGETHER_S = 1.0
_SIGNAL = re.compile(rb"Fatal Python error: ([A-Za-z ]+)\n")


@dataclass(frozen=True)
class Crash:
    """A process that died in a first call: when, by which signal if it could say so, and what it left."""

    digest: KernelDigest
    at: float
    signal: str | None
    marker: Path


def is_proof(crashes: Sequence[Crash]) -> bool:
    """Return whether a kernel is to blame: it died of a signal of its own, or twice of whatever it was.

    A process that the system killed, for want of memory or by somebody's hand, leaves a marker without a signal.
    """
    if any(crash.signal is not None for crash in crashes):
        return True
    times = sorted(crash.at for crash in crashes)
    deaths = sum(1 for before, at in zip([float("-inf"), *times], times, strict=False) if at - before > _TOGETHER_S)
    return deaths >= _NEEDED


def parse_signal(dump: bytes, file: str, function: str) -> str | None:
    """Return the signal in what `faulthandler` wrote, if the thread that died of it was in this function.

    A thread that runs no Python, such as one that the library itself started, stands in no dump: then any that waits in
    the function speaks for it.
    """
    found = _SIGNAL.match(dump)
    if found is None:
        return None
    _, current, rest = dump.partition(b"\nCurrent thread ")
    stack = rest.partition(b"\n\n")[0] if current else dump
    within = re.search(
        re.escape(file).encode() + rb'", line \d+ in ' + re.escape(function).encode() + rb"(?:\n|\Z)", stack
    )
    return found[1].decode() if within else None
