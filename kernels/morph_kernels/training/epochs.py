"""The epoch loop: trains, and at each boundary listens, grows, exchanges bodies and saves, in this order."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

import torch
import torch.distributed as dist
from torch import nn

from morph_kernels.canonical import canonical_bytes
from morph_kernels.checkpoint import Bodies, Checkpointer, RestoreReport, SaveHandle
from morph_kernels.checkpoint.ranks import Ranks
from morph_kernels.training.controller import Controller, Observation, SlotCommand
from morph_kernels.training.growth import GrowingRun, Transition
from morph_kernels.training.lifecycle import SeedCommand, SeedState

Batches = Callable[[int], Iterable[tuple[torch.Tensor, torch.Tensor]]]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class EpochReport:
    """What one epoch did; losses are means."""

    epoch: int
    step: int
    training_loss: float
    validation_loss: float
    transitions: tuple[Transition, ...]


class EpochLoop:
    """Trains a growing run epoch by epoch.

    Args:
        run: the model with its slots.
        batches: gives an epoch's batches; it may draw from the global generators, which are saved.
        loss: the task's loss, from (output, target).
        validate: the validation loss of a module that is in eval mode, under no_grad.
        controller: what grows, and when; put it into the run's parts if it is to be saved.
        checkpointer: saves at each boundary; None trains without a net.
        group: the gloo group of all ranks.
    """

    def __init__(
        self,
        run: GrowingRun,
        *,
        batches: Batches,
        loss: Loss,
        validate: Callable[[nn.Module], float],
        controller: Controller,
        checkpointer: Checkpointer | None = None,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        self.run = run
        self.epoch = 0
        self.step = 0
        self._batches, self._loss, self._validate = batches, loss, validate
        self._controller = controller
        self._checkpointer = checkpointer
        self._group = group
        self._ranks = Ranks(group)
        self._saving: SaveHandle | None = None
        self._last_saved: UUID | None = None

    def resume(self, selector: str = "latest", *, bodies: Bodies = "available") -> RestoreReport:
        """Go back to a checkpoint; the next epoch is the one after it.

        Raises:
            MorphError: as `Checkpointer.restore` does, or this loop has no checkpointer.
        """
        if self._checkpointer is None:
            raise ValueError("this loop has no checkpointer")
        report = self._checkpointer.restore(self.run, selector=selector, bodies=bodies)
        self.epoch, self.step, self._last_saved = report.epoch, report.step, report.checkpoint
        return report

    def run_epochs(self, until: int) -> list[EpochReport]:
        """Train until the epoch of this number has ended, and return once it is saved.

        Raises:
            TransitionRefusedError: the controller asked for what the lifecycle does not allow.
        """
        reports = []
        if self.epoch == 0 and self._checkpointer is not None and self._last_saved is None:
            self._save()
        while self.epoch < until:
            reports.append(self._one_epoch())
        self._settle()
        return reports

    def _one_epoch(self) -> EpochReport:
        training_loss = self._train()
        self.epoch += 1
        finished, stepped = self.epoch, self.step
        self.run.count_epoch()
        validation_loss = self._validation_loss()
        transitions = self._adapt(validation_loss)
        self.run.cross_boundary(self.epoch, self._group)
        self._save()
        return EpochReport(finished, stepped, training_loss, validation_loss, tuple(transitions))

    def _train(self) -> float:
        self.run.model.train()
        total: torch.Tensor | None = None
        count = 0
        for inputs, targets in self._batches(self.epoch + 1):
            self.run.optimizer.zero_grad(set_to_none=True)
            task = self._loss(self.run.forward(inputs), targets)
            apart = self.run.isolated_loss()
            (task if apart is None else task + apart).backward()  # type: ignore[no-untyped-call]  # torch gives it no types
            self.run.optimizer.step()
            self.run.after_step()
            self.step += 1
            total = task.detach() if total is None else total + task.detach()
            count += 1
        return float("nan") if total is None else float(total) / count

    def _validation_loss(self) -> float:
        self.run.model.eval()
        with torch.no_grad():
            return self._validate(self.run.model)

    def _adapt(self, validation_loss: float) -> list[Transition]:
        self._settle()
        commands = self._decide(validation_loss)
        back = [command for command in commands if command.command is SeedCommand.ROLL_BACK]
        if back:
            return [self._roll_back(command) for command in back[:1]]
        known_good = None if self._last_saved is None else str(self._last_saved)
        return self.run.apply(commands, known_good=known_good, ranks=self._ranks)

    def _decide(self, validation_loss: float) -> Sequence[SlotCommand]:
        """Ask the controller on every rank, so that all remember the same, and do what the first one says."""
        seen = Observation(self.epoch, self._agreed_loss(validation_loss), self.run.views())
        commands = self._controller.decide(seen)
        agreed = self._ranks.broadcast(canonical_bytes({"commands": [asdict(command) for command in commands]}))
        return [
            SlotCommand(fact["slot"], SeedCommand(fact["command"]), fact["blueprint"])
            for fact in json.loads(agreed)["commands"]
        ]

    def _agreed_loss(self, validation_loss: float) -> float:
        return float.fromhex(self._ranks.broadcast(validation_loss.hex().encode()).decode())

    def _roll_back(self, command: SlotCommand) -> Transition:
        """Restore everything from before the graft; only the slot remembers that it was tried."""
        slot = self.run.slots[command.slot]
        before, known_good = slot.seed_state, slot.known_good
        self.run.apply([command])
        if known_good is not None and self._checkpointer is not None:
            self.resume(known_good)
            # The seed is in training again there; it ends here.
            self.run.end_seed(command.slot, SeedState.ROLLED_BACK)
        return Transition(command.slot, before, SeedState.ROLLED_BACK, f"restored {known_good}")

    def _save(self) -> None:
        if self._checkpointer is not None:
            self._saving = self._checkpointer.save(self.run, epoch=self.epoch, step=self.step)

    def _settle(self) -> None:
        if self._saving is not None:
            self._last_saved = self._saving.wait().checkpoint
            self._saving = None
