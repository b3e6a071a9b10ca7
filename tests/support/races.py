"""Calls that begin at the same moment, each on a thread of its own."""

import threading
from collections.abc import Callable
from typing import Any

from morph_assets.registry.errors import RegistryError


def race(*calls: Callable[[], Any]) -> list[Any]:
    """Run the calls at the same moment; return each one's result or refusal."""
    outcomes: list[Any] = [None] * len(calls)
    start = threading.Barrier(len(calls))

    def run(place: int, call: Callable[[], Any]) -> None:
        start.wait()
        try:
            outcomes[place] = call()
        except RegistryError as error:
            outcomes[place] = error

    threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
