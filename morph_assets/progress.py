"""How long work tells how far it is, to whoever shows it: a bar in a terminal, a line in a run's log, nobody."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

# Opens one bar, `progress(text, total=)`; what it yields is called with how many more are done: `advance(count)`.
Progress = Callable[..., AbstractContextManager[Any]]
