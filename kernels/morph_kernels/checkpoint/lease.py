"""Takes a run over, and keeps it while this process lives.

Safety is the epoch's, checked inside each commit. Keeping the lease only spares a living writer from being taken over;
a dead one's ends by itself within its time to live.
"""

import threading
import time
from uuid import uuid4

from morph_kernels.checkpoint.ledger import (
    CheckpointLedger,
    LeaseLostError,
    LedgerUnavailableError,
    RunHeldError,
    RunLease,
)

_POLL_S = 0.1
# How long after a lease must have ended another holder still counts as dead rather than alive.
_PATIENCE = 2.0


def open_when_free(ledger: CheckpointLedger, run: str, *, ttl_s: float) -> RunLease:
    """Open the run as a new holder, waiting for a dead holder's lease to end.

    Raises:
        RunHeldError: the holder keeps renewing: it lives.
        LedgerUnavailableError: the ledger does not answer for as long.
    """
    holder, deadline = uuid4(), time.monotonic() + _PATIENCE * ttl_s
    while True:
        try:
            return ledger.open_run(run, holder=holder, ttl_s=ttl_s)
        except (RunHeldError, LedgerUnavailableError):
            if time.monotonic() >= deadline:
                raise
        time.sleep(_POLL_S)


class KeptLease:
    """A lease that a thread renews three times in its life, until it is closed or lost."""

    def __init__(self, lease: RunLease, ledger: CheckpointLedger, ttl_s: float) -> None:
        self.lease = lease
        self._ledger = ledger
        self._ttl_s = ttl_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="morph-lease", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop renewing and give the run back; a ledger that does not answer lets the lease run out instead."""
        self._closing.set()
        self._thread.join()
        try:
            self._ledger.release(self.lease)
        except LedgerUnavailableError:
            return

    def _keep(self) -> None:
        while not self._closing.wait(self._ttl_s / 3):
            try:
                self._ledger.renew(self.lease, ttl_s=self._ttl_s)
            except LeaseLostError:
                # The next commit meets the same refusal and tells the trainer.
                return
            except LedgerUnavailableError:
                continue
