"""Real handwritten digits (scikit-learn's, 1797 images of 8 x 8 pixels), and a small host with three slots for them.

Source of the data: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning
Repository, 1998.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn
from torch.nn import functional

from morph_kernels.training import SeedSlot

# The kernel that each slot grows, in the order in which the slots are filled.
GROWTH: Final = ("conv_residual_batchnorm", "squeeze_excite", "ffn_gelu")
CHANNELS, FEATURES, CLASSES = 16, 64, 10
_SPLIT_SEED = 20
_VALIDATION, _TEST = 240, 360
_BRIGHTEST = 16.0


@dataclass(frozen=True)
class Part:
    """Images [count, 1, 8, 8] in 0..1 and their labels [count]."""

    images: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Digits:
    """The data in three parts that never change."""

    training: Part
    validation: Part
    test: Part


def load_digits() -> Digits:
    """Load and split the digits, the same way every time."""
    from sklearn.datasets import load_digits as load

    raw = load()
    images = torch.tensor(raw.images, dtype=torch.float32).unsqueeze(1) / _BRIGHTEST
    labels = torch.tensor(raw.target, dtype=torch.int64)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(_SPLIT_SEED))
    validation, test, training = torch.split(order, [_VALIDATION, _TEST, len(labels) - _VALIDATION - _TEST])
    return Digits(*(Part(images[part], labels[part]) for part in (training, validation, test)))


def draw_batches(part: Part, *, size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield an epoch of batches in an order drawn from the global generator, which checkpoints save."""
    for chosen in torch.split(torch.randperm(len(part.labels)), size):
        yield part.images[chosen], part.labels[chosen]


class DigitsHost(nn.Module):
    """A deliberately narrow network, so that what grows in its slots shows."""

    def __init__(self, *, ramp_steps: int) -> None:
        """Make the host with empty slots."""
        super().__init__()
        self.stem = nn.Conv2d(1, CHANNELS, kernel_size=3, padding=1)
        self.texture = SeedSlot(ramp_steps=ramp_steps)
        self.gate = SeedSlot(ramp_steps=ramp_steps)
        self.project = nn.Linear(CHANNELS * 4 * 4, FEATURES)
        self.features = SeedSlot(ramp_steps=ramp_steps)
        self.head = nn.Linear(FEATURES, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return logits [batch, 10] of images [batch, 1, 8, 8]."""
        maps = self.gate(self.texture(functional.relu(self.stem(images))))
        pooled = functional.max_pool2d(maps, 2).flatten(1)
        logits: torch.Tensor = self.head(self.features(functional.relu(self.project(pooled))))
        return logits


def accuracy(model: nn.Module, part: Part) -> float:
    """Return the share of right answers of a module that is in eval mode."""
    with torch.no_grad():
        return float((model(part.images).argmax(dim=1) == part.labels).float().mean())
