"""Processes that open new ledgers at the same instant."""

from pathlib import Path
from uuid import uuid4

from morph_kernels.checkpoint import SqliteLedger


def open_together(folder: str, count: int, index: int, at_once, told) -> None:
    """Open `count` new ledgers, each at the same moment as the others do; tell the lease epochs or the error."""
    epochs = []
    try:
        for attempt in range(count):
            at_once.wait(30)
            ledger = SqliteLedger(Path(folder) / f"new-{attempt}.db")
            epochs.append(ledger.open_run(f"run-{index}", holder=uuid4(), ttl_s=1).epoch)
    except Exception as error:
        at_once.abort()
        told.put(repr(error))
        raise
    told.put(epochs)
