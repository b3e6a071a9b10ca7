"""Reads what a sandboxed child left behind: files from someone whom nobody vouches for."""

import json
import math
import os
import stat
from pathlib import Path
from typing import Any, Final

from morph_kernels.compile.errors import SandboxError
from morph_kernels.compile.sandbox import Outcome

_MAX_RESULT_BYTES: Final = 1024 * 1024


def read_result(path: Path, outcome: Outcome) -> dict[str, Any]:
    """Return the JSON object that a child wrote as its last act.

    Raises:
        SandboxError: the child did not end well, or what it left is no JSON object.
    """
    if outcome.timed_out or outcome.exit_code != 0:
        raise SandboxError(f"the sandboxed process {outcome.ending}; its log ends with: {outcome.log[-800:]}")
    try:
        document = json.loads(read_file(path, _MAX_RESULT_BYTES))
    except (ValueError, RecursionError) as error:
        raise SandboxError(f"the sandbox's {path.name} is not JSON") from error
    if not isinstance(document, dict):
        raise SandboxError(f"the sandbox's {path.name} is not a JSON object")
    return document


def read_file(path: Path, max_bytes: int) -> bytes:
    """Return a file that a child wrote: no link is followed, no pipe waited for, no more than the limit read.

    Raises:
        SandboxError: it is missing, no plain file, or too large.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise SandboxError(f"the sandbox left no readable {path.name}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SandboxError(f"the sandbox's {path.name} is no plain file")
    with open(descriptor, "rb") as file:  # noqa: PTH123 - a descriptor, not a path
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise SandboxError(f"the sandbox's {path.name} is larger than {max_bytes} bytes")
    return data


def read_seconds(document: dict[str, Any], key: str) -> float:
    """Return a duration that a child claims.

    Raises:
        SandboxError: it is no number of seconds.
    """
    value = document.get(key)
    if not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise SandboxError(f"the sandbox's result has no duration {key!r}")
    return float(value)
