"""A trainer that saves once into the registry and then holds its run until it is killed."""

import threading
from multiprocessing.connection import Connection

from morph_kernels.checkpoint import Checkpointer, PostgresLedger
from morph_kernels.store import open_store
from tests.support.checkpoints import small_state


def save_one_and_hang(database_url: str, store_url: str, told: Connection) -> None:
    """Save, say so, and live on with a renewed lease."""
    checkpointer = Checkpointer(
        run="digits", store=open_store(store_url), ledger=PostgresLedger(database_url), lease_ttl_s=1.0
    )
    checkpointer.save(small_state(), epoch=1, step=5).wait()
    told.send("saved")
    threading.Event().wait()
