"""Pins: kernels, releases and checkpoints that nobody removes, why, and until when."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from morph_assets.registry.connection import Registry
from morph_kernels.identity import KernelDigest


@dataclass(frozen=True)
class PinRecord:
    """One pin; without `until_at` it holds until somebody takes it away."""

    subject: str
    reason: str
    pinned_by: str
    until_at: datetime | None
    holds: bool


def kernel_subject(digest: KernelDigest) -> str:
    """Return the subject that names a kernel."""
    return f"kernel/{digest}"


def release_subject(name: str, version: int) -> str:
    """Return the subject that names a release; its pin also keeps the kernels of its blueprint that are fit for use."""
    return f"release/{name}@{version}"


def checkpoint_subject(checkpoint: UUID) -> str:
    """Return the subject that names a checkpoint; what it needs is kept with it."""
    return f"checkpoint/{checkpoint}"


def pin(registry: Registry, subject: str, *, reason: str, until: datetime | None = None) -> None:
    """Keep the subject from being removed, or say anew why and until when. As platform, curator or admin.

    Raises:
        NotRegisteredError: there is no such thing.
        GuardError: it is retired or gone already.
        InvalidRecordError: no reason, a moment that has passed, or not a subject.
    """
    registry.call("SELECT morph.pin(%s, %s, %s)", (subject, reason, until))


def unpin(registry: Registry, subject: str, *, reason: str) -> bool:
    """Take the pin away and return whether there was one. As curator or admin."""
    (was_pinned,) = registry.call("SELECT morph.unpin(%s, %s)", (subject, reason))
    return bool(was_pinned)


def list_pins(registry: Registry) -> list[PinRecord]:
    """Return the pins, those that hold nothing any more too."""
    return registry.fetch(
        PinRecord,
        """SELECT subject, reason, pinned_by, until_at, until_at IS NULL OR until_at > clock_timestamp() AS holds
           FROM morph.pin ORDER BY subject""",
    )
