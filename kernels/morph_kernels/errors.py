"""The root of every error the project raises on purpose."""

from typing import ClassVar


class MorphError(Exception):
    """Something the caller should know, said in one line with what to do about it.

    Subclasses live with their subject. `retryable` says whether the same call may succeed later.
    """

    retryable: ClassVar[bool] = False
