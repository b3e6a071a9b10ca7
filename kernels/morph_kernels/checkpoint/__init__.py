"""Saves and restores training state bit for bit.

Not here: what a training step is.
"""

from morph_kernels.imports import uncollected

with uncollected():
    from morph_kernels.checkpoint.checkpointer import Checkpointer, SaveHandle
    from morph_kernels.checkpoint.commit import Acknowledgement
    from morph_kernels.checkpoint.journal import EAGER, BodyRecord
    from morph_kernels.checkpoint.ledger import CheckpointLedger, CommittedCheckpoint
    from morph_kernels.checkpoint.packs import CheckpointDamagedError
    from morph_kernels.checkpoint.postgres_ledger import PostgresLedger
    from morph_kernels.checkpoint.restore import RestoreReport
    from morph_kernels.checkpoint.selector import NoCheckpointError, SelectorError
    from morph_kernels.checkpoint.sqlite_ledger import SqliteLedger
    from morph_kernels.checkpoint.state import (
        Bodies,
        BodyUnavailableError,
        Graft,
        PlainState,
        StateMismatchError,
        Topology,
        TrainingState,
    )

__all__ = [
    "EAGER",
    "Acknowledgement",
    "Bodies",
    "BodyRecord",
    "BodyUnavailableError",
    "CheckpointDamagedError",
    "CheckpointLedger",
    "Checkpointer",
    "CommittedCheckpoint",
    "Graft",
    "NoCheckpointError",
    "PlainState",
    "PostgresLedger",
    "RestoreReport",
    "SaveHandle",
    "SelectorError",
    "SqliteLedger",
    "StateMismatchError",
    "Topology",
    "TrainingState",
]
