"""Measures how fast a log is verified."""

import time
from dataclasses import dataclass

from morph_assets.connections import Connections
from morph_assets.registry.audit.chain import verify_chain
from morph_assets.usecases.verify_audit import verify_audit
from morph_kernels.errors import MorphError


class UnverifiedLogError(MorphError):
    """A log that does not hold has no speed of verification."""


@dataclass(frozen=True)
class MeasuredAudit:
    """Events a second: of the chain alone, and with copies, anchors and bodies."""

    events: int
    chain_per_s: float
    whole_per_s: float


def measure_audit(connections: Connections) -> MeasuredAudit:
    """Verify the whole log twice, as the auditor: first the hash chain alone, then everything.

    Raises:
        UnverifiedLogError: the log does not hold.
    """
    began = time.perf_counter()
    broken = verify_chain(connections.registry("auditor"))
    between = time.perf_counter()
    verified = verify_audit(connections)
    ended = time.perf_counter()
    if broken is not None or not verified.holds:
        raise UnverifiedLogError(f"the log does not hold: {verified.first or broken}")
    return MeasuredAudit(verified.events, verified.events / (between - began), verified.events / (ended - between))
