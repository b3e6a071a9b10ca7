"""Calls again what may succeed the next time."""

import time
from collections.abc import Callable
from typing import TypeVar

from morph_kernels.errors import MorphError

_ATTEMPTS = 4
_FIRST_PAUSE_S = 0.05
_T = TypeVar("_T")


def persist(call: Callable[[], _T], *, unless: type[MorphError] | None = None) -> _T:
    """Call again, a few times with growing pauses, while the error says that this may help."""
    pause_s = _FIRST_PAUSE_S
    for _ in range(_ATTEMPTS - 1):
        try:
            return call()
        except MorphError as error:
            if not error.retryable or (unless is not None and isinstance(error, unless)):
                raise
        time.sleep(pause_s)
        pause_s *= 4
    return call()
