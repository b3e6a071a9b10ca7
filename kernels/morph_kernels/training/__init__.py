"""The training loop's side of growth: seed slots, lifecycle, epochs.

Not here: how kernels are found or checkpoints stored.
"""

from morph_kernels.training.controller import (
    Controller,
    HeuristicController,
    Observation,
    Patience,
    SlotCommand,
    SlotView,
)
from morph_kernels.training.epochs import EpochLoop, EpochReport
from morph_kernels.training.growth import GrowingRun, Transition
from morph_kernels.training.kernel_source import KernelSource
from morph_kernels.training.lifecycle import SeedCommand, SeedState, TransitionRefusedError, plan_transition
from morph_kernels.training.slot import SeedSlot, blend_in, blend_residual

__all__ = [
    "Controller",
    "EpochLoop",
    "EpochReport",
    "GrowingRun",
    "HeuristicController",
    "KernelSource",
    "Observation",
    "Patience",
    "SeedCommand",
    "SeedSlot",
    "SeedState",
    "SlotCommand",
    "SlotView",
    "Transition",
    "TransitionRefusedError",
    "blend_in",
    "blend_residual",
    "plan_transition",
]
