"""The eleven states of a seed, and the transitions between them as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique
from types import MappingProxyType

from morph_kernels.errors import MorphError


@unique
class SeedState(StrEnum):
    """Where a seed is in its life."""

    DORMANT = "dormant"
    GERMINATED = "germinated"
    TRAINING = "training"
    GRAFTING = "grafting"
    STABILIZATION = "stabilization"
    EVALUATING = "evaluating"
    FINE_TUNING = "fine_tuning"
    FOSSILIZED = "fossilized"
    CULLED = "culled"
    CANCELLED = "cancelled"
    ROLLED_BACK = "rolled_back"


@unique
class SeedCommand(StrEnum):
    """What a controller can ask of a seed, and what happens to one (`FAIL_LOAD`)."""

    GERMINATE = "germinate"
    FAIL_LOAD = "fail_load"
    TRAIN = "train"
    GRAFT = "graft"
    STABILIZE = "stabilize"
    EVALUATE = "evaluate"
    FINE_TUNE = "fine_tune"
    FOSSILIZE = "fossilize"
    CULL = "cull"
    CANCEL = "cancel"
    ROLL_BACK = "roll_back"
    RESET = "reset"


_S, _C = SeedState, SeedCommand

TRANSITIONS: Mapping[tuple[SeedState, SeedCommand], SeedState] = MappingProxyType(
    {
        (_S.DORMANT, _C.GERMINATE): _S.GERMINATED,
        (_S.GERMINATED, _C.FAIL_LOAD): _S.CULLED,
        (_S.GERMINATED, _C.TRAIN): _S.TRAINING,
        (_S.GERMINATED, _C.CANCEL): _S.CANCELLED,
        (_S.TRAINING, _C.GRAFT): _S.GRAFTING,
        (_S.TRAINING, _C.CULL): _S.CULLED,
        (_S.TRAINING, _C.CANCEL): _S.CANCELLED,
        (_S.GRAFTING, _C.STABILIZE): _S.STABILIZATION,
        (_S.GRAFTING, _C.CULL): _S.CULLED,
        (_S.GRAFTING, _C.ROLL_BACK): _S.ROLLED_BACK,
        (_S.STABILIZATION, _C.EVALUATE): _S.EVALUATING,
        (_S.STABILIZATION, _C.CULL): _S.CULLED,
        (_S.STABILIZATION, _C.ROLL_BACK): _S.ROLLED_BACK,
        (_S.EVALUATING, _C.FINE_TUNE): _S.FINE_TUNING,
        (_S.EVALUATING, _C.CULL): _S.CULLED,
        (_S.EVALUATING, _C.ROLL_BACK): _S.ROLLED_BACK,
        (_S.FINE_TUNING, _C.FOSSILIZE): _S.FOSSILIZED,
        (_S.FINE_TUNING, _C.CULL): _S.CULLED,
        (_S.FINE_TUNING, _C.ROLL_BACK): _S.ROLLED_BACK,
        # A slot whose seed came to nothing can be used again; a fossil never changes.
        (_S.CULLED, _C.RESET): _S.DORMANT,
        (_S.CANCELLED, _C.RESET): _S.DORMANT,
        (_S.ROLLED_BACK, _C.RESET): _S.DORMANT,
    }
)

# A kernel sits in the slot.
OCCUPIED = frozenset(
    {
        _S.GERMINATED,
        _S.TRAINING,
        _S.GRAFTING,
        _S.STABILIZATION,
        _S.EVALUATING,
        _S.FINE_TUNING,
        _S.FOSSILIZED,
    }
)
# Its parameters learn.
LEARNING = frozenset({_S.TRAINING, _S.GRAFTING, _S.FINE_TUNING})
# Its output is the slot's output, wholly or in part.
BLENDED = OCCUPIED - {_S.GERMINATED, _S.TRAINING}


@dataclass(frozen=True)
class Refused:
    """The state does not allow the command; `allowed` is what it does allow."""

    state: SeedState
    command: SeedCommand
    allowed: tuple[SeedCommand, ...]


class TransitionRefusedError(MorphError):
    """A command that the lifecycle does not allow. Nothing changed."""

    def __init__(self, slot: str, refused: Refused) -> None:
        allowed = ", ".join(refused.allowed) or "nothing"
        super().__init__(f"slot {slot!r} is {refused.state} and cannot {refused.command}; it allows {allowed}")
        self.slot, self.refused = slot, refused


def plan_transition(state: SeedState, command: SeedCommand) -> SeedState | Refused:
    """Return the state that the command leads to, or why it leads nowhere."""
    found = TRANSITIONS.get((state, command))
    if found is not None:
        return found
    return Refused(state, command, tuple(c for s, c in TRANSITIONS if s is state))
