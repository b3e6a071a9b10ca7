"""Which checkpoint of a branch is meant."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from morph_kernels.checkpoint.ledger import CommittedCheckpoint
from morph_kernels.errors import MorphError


class NoCheckpointError(MorphError):
    """The branch has no such checkpoint."""


class SelectorError(MorphError):
    """Text that selects nothing."""


@dataclass(frozen=True)
class Latest:
    """The newest checkpoint."""


@dataclass(frozen=True)
class AtEpoch:
    """The newest checkpoint of an epoch."""

    epoch: int


@dataclass(frozen=True)
class ById:
    """One checkpoint."""

    checkpoint: UUID


Selector = Latest | AtEpoch | ById
LATEST = Latest()


def parse_selector(text: str) -> Selector:
    """Parse `latest`, `epoch:<n>` or an id.

    Raises:
        SelectorError: the text is none of them.
    """
    if text == "latest":
        return LATEST
    kind, _, value = text.partition(":")
    try:
        return AtEpoch(int(value)) if kind == "epoch" else ById(UUID(text))
    except ValueError:
        raise SelectorError(f"{text!r} selects nothing: say latest, epoch:<n> or a checkpoint's id") from None


def select(history: Sequence[CommittedCheckpoint], selector: Selector) -> CommittedCheckpoint:
    """Return the first match of a history that is sorted newest first.

    Raises:
        NoCheckpointError: there is none.
    """
    for committed in history:
        match selector:
            case Latest():
                return committed
            case AtEpoch(epoch) if committed.epoch == epoch:
                return committed
            case ById(checkpoint) if committed.checkpoint == checkpoint:
                return committed
    raise NoCheckpointError(f"no checkpoint for {selector} among {len(history)}")
