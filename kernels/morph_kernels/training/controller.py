"""Decides when and where to grow: the protocol, and a small heuristic that follows the validation loss."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from morph_kernels.training.lifecycle import OCCUPIED, SeedCommand, SeedState

_ACTIVE = OCCUPIED - {SeedState.FOSSILIZED}


@dataclass(frozen=True)
class SlotView:
    """What a controller sees of a slot."""

    state: SeedState
    epochs_in_state: int
    alpha: float


@dataclass(frozen=True)
class Observation:
    """What a controller sees at a boundary."""

    epoch: int
    validation_loss: float
    slots: Mapping[str, SlotView]


@dataclass(frozen=True)
class SlotCommand:
    """One command to one slot; `blueprint` says what to germinate."""

    slot: str
    command: SeedCommand
    blueprint: str | None = None


class Controller(Protocol):
    """Says at each boundary what the slots shall do. Its state is saved with the run."""

    def decide(self, observation: Observation) -> Sequence[SlotCommand]:
        """Return the commands for this boundary."""

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers."""

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Remember that."""


@dataclass(frozen=True)
class Patience:
    """How long the heuristic waits, in epochs, and what it counts as better."""

    plateau: int = 3
    better_by: float = 1e-3
    training: int = 2
    stabilization: int = 1
    fine_tuning: int = 2
    # A graft may cost this share of the loss before it before it is rolled back.
    tolerance: float = 0.05


@dataclass(frozen=True)
class Memory:
    """What the heuristic remembers from one boundary to the next."""

    best: float = float("inf")
    epochs_since_best: int = 0
    loss_before_graft: float = float("inf")
    germinated_count: int = 0


def plan_commands(
    seen: Observation, memory: Memory, *, blueprints: Sequence[str], patience: Patience
) -> tuple[list[SlotCommand], Memory]:
    """Return the commands and the new memory: lead the active seed on, or on a plateau germinate the next slot."""
    if seen.validation_loss < memory.best - patience.better_by:
        memory = replace(memory, best=seen.validation_loss, epochs_since_best=0)
    else:
        memory = replace(memory, epochs_since_best=memory.epochs_since_best + 1)
    active = [name for name, view in seen.slots.items() if view.state in _ACTIVE]
    if active:
        return _lead_on(active[0], seen, memory, patience)
    free = [name for name, view in seen.slots.items() if view.state is SeedState.DORMANT]
    if not free or not blueprints or memory.epochs_since_best < patience.plateau:
        return [], memory
    wanted = blueprints[memory.germinated_count % len(blueprints)]
    memory = replace(memory, epochs_since_best=0, germinated_count=memory.germinated_count + 1)
    return [SlotCommand(free[0], SeedCommand.GERMINATE, wanted)], memory


def _lead_on(slot: str, seen: Observation, memory: Memory, patience: Patience) -> tuple[list[SlotCommand], Memory]:
    view = seen.slots[slot]
    command = _next_command(view, seen.validation_loss, memory, patience)
    if command is SeedCommand.GRAFT:
        memory = replace(memory, loss_before_graft=seen.validation_loss)
    if command is SeedCommand.FOSSILIZE:
        memory = replace(memory, best=min(memory.best, seen.validation_loss), epochs_since_best=0)
    return ([] if command is None else [SlotCommand(slot, command)]), memory


_AFTER_WAITING = {
    SeedState.GERMINATED: SeedCommand.TRAIN,
    SeedState.TRAINING: SeedCommand.GRAFT,
    SeedState.STABILIZATION: SeedCommand.EVALUATE,
    SeedState.FINE_TUNING: SeedCommand.FOSSILIZE,
}


def _next_command(view: SlotView, loss: float, memory: Memory, patience: Patience) -> SeedCommand | None:
    if view.state is SeedState.GRAFTING:
        return SeedCommand.STABILIZE if view.alpha >= 1.0 else None
    if view.state is SeedState.EVALUATING:
        good = loss <= memory.loss_before_graft * (1 + patience.tolerance)
        return SeedCommand.FINE_TUNE if good else SeedCommand.ROLL_BACK
    waits = {
        SeedState.GERMINATED: 0,
        SeedState.TRAINING: patience.training,
        SeedState.STABILIZATION: patience.stabilization,
        SeedState.FINE_TUNING: patience.fine_tuning,
    }
    return _AFTER_WAITING[view.state] if view.epochs_in_state >= waits[view.state] else None


class HeuristicController:
    """Germinates the next free slot when the validation loss stops falling, one seed at a time."""

    def __init__(self, blueprints: Sequence[str], *, patience: Patience | None = None) -> None:
        self._blueprints = tuple(blueprints)
        self._patience = patience or Patience()
        self.memory = Memory()

    def decide(self, observation: Observation) -> Sequence[SlotCommand]:
        """Return the commands for this boundary."""
        commands, self.memory = plan_commands(
            observation, self.memory, blueprints=self._blueprints, patience=self._patience
        )
        return commands

    def state_dict(self) -> dict[str, Any]:
        """Return what it remembers."""
        return asdict(self.memory)

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Remember that."""
        self.memory = Memory(**state)
