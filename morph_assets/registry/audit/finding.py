"""What verification says: which place does not hold first, and what was done to it."""

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Literal

Place = Literal["log", "security", "anchors"]


@unique
class Tampering(StrEnum):
    """What was done, as far as the evidence outside of the database tells."""

    CHANGED = "changed"  # an event says something else than its hash
    REWRITTEN = "rewritten"  # an event was changed and every hash behind it made anew
    DELETED = "deleted"
    INSERTED = "inserted"
    REORDERED = "reordered"
    TRUNCATED = "truncated"  # the end of the log is gone
    HEAD_CHANGED = "head_changed"
    SEGMENT_CHANGED = "segment_changed"  # the copy in the store
    SEGMENT_MISSING = "segment_missing"
    ANCHOR_FORGED = "anchor_forged"
    ANCHOR_MISSING = "anchor_missing"
    BODY_CHANGED = "body_changed"  # a report, blueprint, envelope, log or manifest that an event names
    BODY_MISSING = "body_missing"


@dataclass(frozen=True)
class Finding:
    """One thing that does not hold: where, at which event or anchor, what was done, and what shows it."""

    place: Place
    position: int
    kind: Tampering
    detail: str

    def __str__(self) -> str:
        what = "anchor" if self.place == "anchors" else f"event of the {self.place}"
        return f"{what} {self.position}: {self.kind} ({self.detail})"


@dataclass(frozen=True)
class Witness:
    """Who knows from outside which hash an event has: an anchor of a timeline, or the head that the caller expects."""

    who: str
    seq: int
    hash: bytes
    timeline: int
