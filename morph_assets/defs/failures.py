"""Turns the platform's errors into Dagster's: its reason in one line, and a retry only where one may help."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from morph_kernels.errors import MorphError

_RETRIES = 2
_RETRY_AFTER_S = 1.0


@contextmanager
def explained_failures() -> Iterator[None]:
    """Translate what the platform refuses inside the block.

    Raises:
        Failure: the same call would fail again.
        RetryRequested: it may not: a server was away, a lock was taken.
    """
    try:
        yield
    except MorphError as error:
        if error.retryable:
            raise dg.RetryRequested(max_retries=_RETRIES, seconds_to_wait=_RETRY_AFTER_S) from error
        raise dg.Failure(
            description=str(error), metadata={"error": type(error).__name__}, allow_retries=False
        ) from error
