"""Pins: kernels, releases and checkpoints that nobody removes, why, and until when.

Subjects are `kernel/<digest>`, `checkpoint/<id>`, which keeps what it needs, and `release/<name>@<version>`, which
keeps the kernels of its blueprint that are fit for use.
"""

from dataclasses import dataclass
from datetime import datetime

from morph_assets.registry.connection import Registry


@dataclass(frozen=True)
class PinRecord:
    """One pin; without `until_at` it holds until somebody takes it away."""

    subject: str
    reason: str
    pinned_by: str
    until_at: datetime | None
    holds: bool


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
