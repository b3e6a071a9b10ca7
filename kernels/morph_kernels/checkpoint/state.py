"""What a training run shows to the checkpointer: the whole surface between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from torch import nn
from torch.optim import Optimizer

from morph_kernels.checkpoint.journal import EAGER, BodyRecord
from morph_kernels.errors import MorphError

Bodies = Literal["available", "pinned"]
_SHOWN_COUNT = 8


class Stateful(Protocol):
    """Anything with a state of plain values and tensors: a scheduler, a scaler, a data loader."""

    def state_dict(self) -> Mapping[str, Any]:
        """Return the state."""

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Take the state."""


@dataclass(frozen=True)
class Graft:
    """A kernel sits in a slot: what it is, and the body it runs at this moment."""

    slot: str
    name: str
    digest: str
    blueprint: bytes
    body: str = EAGER


@dataclass(frozen=True)
class Topology:
    """What the state must rebuild before anything is loaded into it.

    With `bodies == "pinned"` every graft must come back on exactly its `body`, or `rebuild` raises
    `BodyUnavailableError`.
    """

    grafts: tuple[Graft, ...]
    seeds: Mapping[str, Any]
    journal: tuple[BodyRecord, ...]
    bodies: Bodies


class BodyUnavailableError(MorphError):
    """A pinned restore cannot repeat the trajectory, because a body it ran with is not to be had here."""

    def __init__(self, slot: str, wanted: str, found: str) -> None:
        super().__init__(
            f"slot {slot!r} ran {wanted} and now has {found}; "
            'restore with bodies="available" to go on from the same state on another trajectory'
        )
        self.slot, self.wanted, self.found = slot, wanted, found


class TrainingState(Protocol):
    """A training run as the checkpointer sees it.

    The attributes are read anew at each save and each step of a restore: `rebuild` may replace the optimizer.
    """

    @property
    def model(self) -> nn.Module:
        """The model without a DDP wrapper; its names are the names of the tensors."""

    @property
    def optimizer(self) -> Optimizer | None:
        """The optimizer over the model's trainable parameters."""

    @property
    def parts(self) -> Mapping[str, Stateful]:
        """What all ranks share besides: scheduler, scaler, controller."""

    @property
    def data(self) -> Stateful | None:
        """This rank's position in the data."""

    def seeds(self) -> Mapping[str, Any]:
        """Return each slot's seed state as plain values."""

    def grafts(self) -> Sequence[Graft]:
        """Return what sits in the slots."""

    def journal(self) -> Sequence[BodyRecord]:
        """Return the body journal."""

    def rebuild(self, topology: Topology) -> None:
        """Bring model and optimizer to this topology: same names, same shapes, same trainable set."""


@dataclass
class PlainState:
    """A run without slots: a model, an optimizer, and what else has a state."""

    model: nn.Module
    optimizer: Optimizer | None = None
    data: Stateful | None = None
    parts: Mapping[str, Stateful] = field(default_factory=dict)

    def seeds(self) -> Mapping[str, Any]:
        """Return nothing: there are no slots."""
        return {}

    def grafts(self) -> Sequence[Graft]:
        """Return nothing: there are no slots."""
        return ()

    def journal(self) -> Sequence[BodyRecord]:
        """Return nothing: there are no slots."""
        return ()

    def rebuild(self, topology: Topology) -> None:
        """Accept a topology without slots.

        Raises:
            StateMismatchError: the checkpoint has grafts.
        """
        if topology.grafts:
            raise StateMismatchError("grafts", missing=[], unexpected=[graft.slot for graft in topology.grafts])


class StateMismatchError(MorphError):
    """The state and the checkpoint do not name the same things; nothing was loaded."""

    def __init__(self, what: str, *, missing: Sequence[str], unexpected: Sequence[str]) -> None:
        super().__init__(
            f"{what} differ between checkpoint and state: the checkpoint lacks {_shown(missing)}; "
            f"the state lacks {_shown(unexpected)}"
        )
        self.what, self.missing, self.unexpected = what, tuple(missing), tuple(unexpected)


def _shown(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN_COUNT
    return ", ".join(names[:_SHOWN_COUNT]) + (f" and {rest} more" if rest > 0 else "") or "none"
