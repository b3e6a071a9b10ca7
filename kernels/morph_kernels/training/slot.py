"""A seed slot: a place in the host where a kernel can grow, and which is nothing until one does."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from morph_kernels.errors import MorphError
from morph_kernels.training.isolation import OwnGenerator
from morph_kernels.training.lifecycle import BLENDED, LEARNING, OCCUPIED, SeedState

Objective = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Blend = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]

_MODE_DEPENDENT = (nn.modules.batchnorm._NormBase, nn.modules.dropout._DropoutNd)  # noqa: SLF001 - their only common names


class SlotShapeError(MorphError):
    """A kernel does not return what it was given the shape of, so it does not fit the slot."""


def blend_in(x: torch.Tensor, output: torch.Tensor, alpha: float) -> torch.Tensor:
    """Go from x to the kernel's output; exactly x at 0 and exactly the output at 1."""
    return torch.lerp(x, output, alpha)


def blend_residual(x: torch.Tensor, output: torch.Tensor, alpha: float) -> torch.Tensor:
    """Add the kernel's output to x."""
    return x + alpha * output


class SeedSlot(nn.Module):
    """The identity, until a kernel is grafted.

    In TRAINING the kernel sees the detached input and learns from `isolated_loss` alone: the host's output, gradients
    and generators are bitwise what they are without it. In GRAFTING its output is blended in over `ramp_steps` steps.

    Args:
        ramp_steps: how many optimizer steps the blend takes from 0 to 1.
        objective: what the kernel learns in isolation, from (its output, its input); by default to pass its input on.
        blend: how its output joins the host's.
    """

    def __init__(
        self, *, ramp_steps: int = 100, objective: Objective = functional.mse_loss, blend: Blend = blend_in
    ) -> None:
        super().__init__()
        self.register_module("kernel", None)
        self.kernel: nn.Module | None
        self.seed_state = SeedState.DORMANT
        self.ramp_steps = ramp_steps
        self.ramp_step = 0
        self.epochs_in_state = 0
        self.known_good: str | None = None
        self.isolated_loss: torch.Tensor | None = None
        self.generator = OwnGenerator()
        self._objective = objective
        self._blend = blend

    @property
    def alpha(self) -> float:
        """How much of the output is the kernel's."""
        if self.seed_state not in BLENDED:
            return 0.0
        if self.seed_state is SeedState.GRAFTING:
            return min(1.0, self.ramp_step / max(1, self.ramp_steps))
        return 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x, or x with the kernel's part in it."""
        self.isolated_loss = None
        if self.kernel is None or self.seed_state is SeedState.GERMINATED:
            return x
        if self.seed_state is SeedState.TRAINING:
            if self.training and torch.is_grad_enabled():
                self._learn_apart(self.kernel, x)
            return x
        return self._blend(x, _same_shape(self.kernel(x), x), self.alpha)

    def occupy(self, kernel: nn.Module, *, seed: int) -> None:
        """Put a kernel into the slot; `enter` then says what it may do."""
        self.kernel = kernel
        self.generator = OwnGenerator(seed)

    def enter(self, state: SeedState) -> None:
        """Take a state: what learns, what is frozen, and whether the kernel stays."""
        self.seed_state, self.epochs_in_state, self.isolated_loss = state, 0, None
        if state is SeedState.GRAFTING:
            self.ramp_step = 0
        if state not in OCCUPIED:
            self.kernel, self.ramp_step, self.known_good = None, 0, None
        self._apply_state()

    def advance(self) -> None:
        """Go on by one optimizer step."""
        if self.seed_state is SeedState.GRAFTING:
            self.ramp_step += 1

    def train(self, mode: bool = True) -> "SeedSlot":
        """Set the mode; a frozen kernel keeps its statistics and drops nothing out."""
        super().train(mode)
        if self.kernel is not None and self.seed_state not in LEARNING and _mode_matters(self.kernel):
            self.kernel.eval()
        return self

    def describe(self) -> dict[str, Any]:
        """Return all that is not a tensor of the model, as plain values."""
        return {
            "state": str(self.seed_state),
            "ramp_step": self.ramp_step,
            "epochs_in_state": self.epochs_in_state,
            "known_good": self.known_good,
            "generator": self.generator.state_dict(),
        }

    def take(self, document: dict[str, Any], kernel: nn.Module | None) -> None:
        """Become the slot that `describe` described, with this kernel in it."""
        self.kernel = kernel
        self.seed_state = SeedState(document["state"])
        self.ramp_step, self.epochs_in_state = document["ramp_step"], document["epochs_in_state"]
        self.known_good = document["known_good"]
        self.generator.load_state_dict(document["generator"])
        self._apply_state()

    def _apply_state(self) -> None:
        if self.kernel is not None:
            self.kernel.requires_grad_(self.seed_state in LEARNING)
            for parameter in self.kernel.parameters():
                parameter.grad = None
        self.train(self.training)

    def _learn_apart(self, kernel: nn.Module, x: torch.Tensor) -> None:
        # A copy: neither may an in-place op of the host reach what the kernel saved, nor one of the kernel the host.
        apart = x.detach().clone()
        with self.generator.drawing(x.device):
            output = _same_shape(kernel(apart), x)
        self.isolated_loss = self._objective(output, apart)


def _same_shape(output: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    if output.shape != x.shape:
        raise SlotShapeError(f"the kernel made {list(output.shape)} of {list(x.shape)}: it does not fit the slot")
    return output


def _mode_matters(kernel: nn.Module) -> bool:
    return any(isinstance(module, _MODE_DEPENDENT) for module in kernel.modules())
