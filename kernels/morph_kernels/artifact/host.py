"""Reads what this process can run: the processor's flags, the C and C++ libraries, the installed torch."""

import ctypes
import mmap
import os
import re
import sys
from functools import cache
from pathlib import Path

from morph_kernels.artifact.target import Runtime

_V2 = frozenset({"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"})
_V3 = _V2 | {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
_LEVELS = (("x86-64-v4", _V4), ("x86-64-v3", _V3), ("x86-64-v2", _V2))
_GLIBCXX = re.compile(rb"GLIBCXX_([0-9]+(?:\.[0-9]+)+)\0")
_TRADE_MARKS = re.compile(r"\((?:r|tm)\)|\b(?:cpu|processor|\d+-core)\b|@.*")
_WORD = re.compile(r"[a-z0-9.]+")
# Nothing asks for less than this, so a host without the library runs nothing.
_ABSENT = "0"


@cache
def current_runtime() -> Runtime:
    """Return what this process can run on the processor; read once, without importing torch."""
    return Runtime(
        device="cpu",
        isa=cpu_level(Path("/proc/cpuinfo").read_text(encoding="utf-8")),
        torch=_torch_version().partition("+")[0],
        glibc=_glibc_version(),
        libstdcxx=_libstdcxx_version(),
    )


@cache
def current_hardware() -> str:
    """Return what this processor is called, as a short word: that on which times were measured."""
    return cpu_name(Path("/proc/cpuinfo").read_text(encoding="utf-8"))


def cpu_name(cpuinfo: str) -> str:
    """Return the processor's model out of the text of `/proc/cpuinfo`, as `amd-epyc-9b14`."""
    line = next((line for line in cpuinfo.splitlines() if line.startswith("model name")), "")
    words = _TRADE_MARKS.sub(" ", line.partition(":")[2].lower())
    return "-".join(_WORD.findall(words)) or "unknown"


def cpu_level(cpuinfo: str) -> str:
    """Return the highest x86-64 level of which every flag stands in the text of `/proc/cpuinfo`."""
    line = next((line for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    flags = frozenset(line.partition(":")[2].split())
    return next((level for level, needed in _LEVELS if needed <= flags), "x86-64")


def _torch_version() -> str:
    loaded = sys.modules.get("torch")
    if loaded is not None:
        return str(loaded.__version__)
    # Reads the distribution's whole description as an e-mail: 2 ms.
    from importlib.metadata import version

    return version("torch")


def _glibc_version() -> str:
    try:
        text = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return _ABSENT
    return text.rpartition(" ")[2] or _ABSENT


def _libstdcxx_version() -> str:
    """Return the newest GLIBCXX version of the library that this process uses or would use."""
    try:
        ctypes.CDLL("libstdc++.so.6")
    except OSError:
        return _ABSENT
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    path = next((line.split(maxsplit=5)[5] for line in maps if "/libstdc++.so.6" in line), None)
    if path is None:
        return _ABSENT
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = {match.decode() for match in _GLIBCXX.findall(content)}
    return max(found, key=lambda text: [int(part) for part in text.split(".")], default=_ABSENT)
