"""A run whose model grows: slots, kernels and optimizer, kept in step, and shown to the checkpointer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.optim import Optimizer

from morph_kernels.blueprint import Blueprint
from morph_kernels.checkpoint import (
    Bodies,
    BodyRecord,
    BodyUnavailableError,
    Graft,
    StateMismatchError,
    Topology,
)
from morph_kernels.checkpoint.environment import current_environment
from morph_kernels.checkpoint.journal import append_record
from morph_kernels.checkpoint.ranks import Ranks
from morph_kernels.checkpoint.state import Stateful
from morph_kernels.errors import MorphError
from morph_kernels.training.controller import SlotCommand, SlotView
from morph_kernels.training.isolation import derive_seed
from morph_kernels.training.kernel_source import KernelSource, graft_of
from morph_kernels.training.lifecycle import (
    OCCUPIED,
    Refused,
    SeedCommand,
    SeedState,
    TransitionRefusedError,
    plan_transition,
)
from morph_kernels.training.regroup import GroupOf, regroup
from morph_kernels.training.slot import SeedSlot


@dataclass(frozen=True)
class Transition:
    """A seed changed its state; `why` says so where it was not the command alone."""

    slot: str
    before: SeedState
    after: SeedState
    why: str = ""


class CommandError(MorphError):
    """A command that cannot be carried out whatever the lifecycle says. Nothing changed."""


class GrowingRun:
    """A `TrainingState` with seed slots.

    Args:
        model: the host; its `SeedSlot` modules are the slots, named by their place.
        optimizer: holds the model's trainable parameters; it stays the same object for the whole run.
        kernels: where kernels come from.
        blueprints: designs by the name that a command uses; any other name is a ref for `kernels`.
        data: this rank's position in the data.
        parts: what else has a state, such as a scheduler or the controller.
        seed: from which, with slot and epoch, each kernel's first parameters follow.
        group_of: which of the optimizer's groups a new parameter joins, by its name.
        wrap: makes the module to call from the model, anew after each change of what learns (DDP).
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        kernels: KernelSource,
        blueprints: Mapping[str, Blueprint] | None = None,
        data: Stateful | None = None,
        parts: Mapping[str, Stateful] | None = None,
        seed: int = 0,
        group_of: GroupOf = lambda _: 0,
        wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.data = data
        self.parts: Mapping[str, Stateful] = dict(parts or {})
        self.slots = {name: module for name, module in model.named_modules() if isinstance(module, SeedSlot)}
        self._kernels = kernels
        self._blueprints = dict(blueprints or {})
        self._seed = seed
        self._group_of = group_of
        self._wrap = wrap
        self._journal: tuple[BodyRecord, ...] = ()
        self.forward = wrap(model)

    def isolated_loss(self) -> torch.Tensor | None:
        """Return the sum of what the seeds in training ask for; it has no way to the host's parameters."""
        losses = [slot.isolated_loss for slot in self.slots.values() if slot.isolated_loss is not None]
        return torch.stack(losses).sum() if losses else None

    def after_step(self) -> None:
        """Let the ramps go on by one step."""
        for slot in self.slots.values():
            slot.advance()

    def views(self) -> dict[str, SlotView]:
        """Return what a controller sees of the slots."""
        return {name: SlotView(slot.seed_state, slot.epochs_in_state, slot.alpha) for name, slot in self.slots.items()}

    def apply(
        self, commands: Sequence[SlotCommand], *, known_good: str | None = None, ranks: Ranks | None = None
    ) -> list[Transition]:
        """Carry commands out, at a boundary. All are checked before any is applied.

        With several `ranks` it is a collective where a command germinates: a load that fails on one fails on all.

        Raises:
            TransitionRefusedError: the lifecycle does not allow one of them; nothing changed.
            CommandError: a slot does not exist, has two commands, or its ramp is unfinished; nothing changed.
        """
        planned = [self._plan(command) for command in commands]
        if len({command.slot for command in commands}) < len(commands):
            raise CommandError(f"a slot takes one command at a boundary, not these: {commands}")
        done: list[Transition] = []
        for command, after in zip(commands, planned, strict=True):
            done += self._enter(command, after, known_good, ranks or Ranks())
        if done:
            self._follow_topology()
        return done

    def end_seed(self, slot: str, state: SeedState) -> None:
        """End a seed without a command, after everything around it was restored."""
        self.slots[slot].enter(state)
        self._follow_topology()

    def count_epoch(self) -> None:
        """Count an epoch that every seed has spent in its state."""
        for slot in self.slots.values():
            slot.epochs_in_state += 1

    def cross_boundary(self, boundary: int, group: dist.ProcessGroup | None = None) -> None:
        """Let bodies be exchanged, and write down which ones run from here on."""
        self._kernels.at_boundary(group)
        here = current_environment()
        for graft in self.grafts():
            record = BodyRecord(boundary, graft.slot, graft.body, here.threads, here.isa, here.torch)
            self._journal = append_record(self._journal, record)

    def seeds(self) -> Mapping[str, Any]:
        """Return each slot's seed state as plain values."""
        return {name: slot.describe() for name, slot in self.slots.items()}

    def grafts(self) -> Sequence[Graft]:
        """Return what sits in the slots."""
        return [graft_of(name, slot.kernel) for name, slot in self.slots.items() if slot.kernel is not None]

    def journal(self) -> Sequence[BodyRecord]:
        """Return the body journal."""
        return self._journal

    def rebuild(self, topology: Topology) -> None:
        """Bring slots, kernels and optimizer to a saved topology.

        Raises:
            StateMismatchError: the model has other slots.
            BodyUnavailableError: bodies are pinned, and one is not to be had.
        """
        if set(topology.seeds) != set(self.slots):
            missing, unexpected = set(self.slots) - set(topology.seeds), set(topology.seeds) - set(self.slots)
            raise StateMismatchError("seed slots", missing=sorted(missing), unexpected=sorted(unexpected))
        # All kernels first: if one cannot be had, the run is as it was.
        kernels = {graft.slot: self._reload(graft, topology.bodies) for graft in topology.grafts}
        occupied = {name for name, seed in topology.seeds.items() if SeedState(seed["state"]) in OCCUPIED}
        if occupied != set(kernels):
            raise StateMismatchError(
                "grafts and seeds", missing=sorted(occupied - set(kernels)), unexpected=sorted(set(kernels) - occupied)
            )
        for name, slot in self.slots.items():
            slot.take(dict(topology.seeds[name]), kernels.get(name))
        self._journal = topology.journal
        self._follow_topology()

    def _plan(self, command: SlotCommand) -> SeedState:
        slot = self.slots.get(command.slot)
        if slot is None:
            raise CommandError(f"there is no slot {command.slot!r}; there are {sorted(self.slots)}")
        if command.command is SeedCommand.STABILIZE and slot.alpha < 1.0:
            raise CommandError(f"slot {command.slot!r} is blended in to {slot.alpha:.0%}: stabilising would be a jump")
        outcome = plan_transition(slot.seed_state, command.command)
        if isinstance(outcome, Refused):
            raise TransitionRefusedError(command.slot, outcome)
        return outcome

    def _enter(self, command: SlotCommand, after: SeedState, known_good: str | None, ranks: Ranks) -> list[Transition]:
        slot = self.slots[command.slot]
        before, why = slot.seed_state, ""
        if command.command is SeedCommand.GERMINATE:
            why = self._germinate(command, slot, ranks)
        slot.enter(after)
        if command.command is SeedCommand.GRAFT:
            slot.known_good = known_good
        done = [Transition(command.slot, before, after)]
        if why:
            slot.enter(SeedState.CULLED)
            done.append(Transition(command.slot, after, SeedState.CULLED, why))
        return done

    def _germinate(self, command: SlotCommand, slot: SeedSlot, ranks: Ranks) -> str:
        """Load a kernel; return why there is none: a failed load is the end of the seed, never of the run."""
        wanted = command.blueprint or ""
        seed = derive_seed(self._seed, command.slot, wanted)
        why = ""
        try:
            kernel = self._kernels.load(self._blueprints.get(wanted, wanted), seed=seed)
            graft_of(command.slot, kernel)
            slot.occupy(kernel, seed=seed)
        except MorphError as error:
            why = f"{type(error).__name__}: {error}"
        failed = [word.decode() for word in ranks.gather(why.encode()) if word]
        return failed[0] if failed else ""

    def _reload(self, graft: Graft, bodies: Bodies) -> nn.Module:
        blueprint = Blueprint.from_bytes(graft.blueprint, name=graft.name)
        if bodies == "available":
            return self._kernels.load(blueprint)
        try:
            kernel = self._kernels.load_pinned(blueprint, body=graft.body)
        except MorphError as error:
            raise BodyUnavailableError(graft.slot, graft.body, f"none: {error}") from error
        found = graft_of(graft.slot, kernel).body
        if found != graft.body:
            raise BodyUnavailableError(graft.slot, graft.body, found)
        return kernel

    def _follow_topology(self) -> None:
        regroup(self.optimizer, self.model, self._group_of)
        self.forward = self._wrap(self.model)
