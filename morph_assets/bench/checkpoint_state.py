"""A training run of a wanted size: a deep network, its optimizer, and real steps."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from morph_kernels.checkpoint import PlainState

BLOCKS: Final = 25
_BATCH: Final = 64
_BYTES_A_WEIGHT: Final = 3 * 4  # the weight, and two moments of AdamW


@dataclass
class BenchState(PlainState):
    """A model of equal blocks, so that shares of its bytes can be changed."""

    @classmethod
    def of(cls, megabytes: float) -> "BenchState":
        """Return a state of about so many megabytes, its moments as various as after some training."""
        torch.manual_seed(0)
        width = max(8, int(math.sqrt(megabytes * 1e6 / BLOCKS / _BYTES_A_WEIGHT)))
        model = nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(BLOCKS)))
        state = cls(model, torch.optim.AdamW(model.parameters(), lr=1e-6))
        state.train_step()
        state.change()
        return state

    @property
    def trained(self) -> torch.optim.Optimizer:
        """The optimizer, which this state always has."""
        if self.optimizer is None:
            raise ValueError("a bench state has an optimizer")
        return self.optimizer

    def tensors(self) -> list[torch.Tensor]:
        """Return every large tensor, block by block."""
        return [tensor for block in range(BLOCKS) for tensor in self._of_block(block)]

    @property
    def size_bytes(self) -> int:
        """How much there is to save."""
        return sum(tensor.nbytes for tensor in self.tensors())

    def change(self, blocks: int = BLOCKS) -> int:
        """Draw the first blocks anew; return how many bytes that is."""
        changed = 0
        for block in range(blocks):
            weight, *moments = self._of_block(block)
            # What a linear layer needs to keep the size of what goes through it: no step meets a tiny or a huge number.
            bound = math.sqrt(3 / weight.shape[-1])
            for tensor in (weight, *moments):
                tensor.uniform_(-bound if tensor is weight else 0, bound)
                changed += tensor.nbytes
        return changed

    def train_step(self) -> None:
        """Take one step of training, on data drawn anew."""
        width = self.model[0].in_features  # type: ignore[index]  # nn.Module says nothing of Sequential's items
        self.trained.zero_grad()
        self.model(torch.randn(_BATCH, width)).square().mean().backward()
        self.trained.step()

    def document(self) -> dict[str, Any]:
        """Return what people save: both state dicts, with the live tensors in them."""
        return {"model": self.model.state_dict(), "optimizer": self.trained.state_dict()}

    def named(self) -> dict[str, torch.Tensor]:
        """Return all live tensors in one flat table."""
        table = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        for number, values in self.trained.state_dict()["state"].items():
            table |= {f"optimizer.{number}.{name}": tensor for name, tensor in values.items()}
        return table

    def _of_block(self, block: int) -> Iterator[torch.Tensor]:
        parameter = self.model[block].weight  # type: ignore[index]  # as above
        yield parameter.detach()
        yield self.trained.state[parameter]["exp_avg"]
        yield self.trained.state[parameter]["exp_avg_sq"]
