"""Small runs that save into a folder: a real store, a real ledger, no server."""

from pathlib import Path

import torch
from torch import nn

from morph_kernels.checkpoint import Checkpointer, PlainState, SqliteLedger
from morph_kernels.store import open_store


def local_checkpointer(folder: Path, *, run: str = "run", **options) -> Checkpointer:
    """A checkpointer whose store and ledger lie in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    ledger = SqliteLedger(folder / "ledger.db")
    return Checkpointer(run=run, store=open_store((folder / "store").as_uri()), ledger=ledger, **options)


def small_state(seed: int = 0) -> PlainState:
    """A network with dropout and running statistics, and its optimizer."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 4))
    return PlainState(model, torch.optim.AdamW(model.parameters(), lr=1e-2))


def train_steps(state: PlainState, count: int) -> None:
    """Train on data drawn from the global generator."""
    optimizer = state.optimizer
    assert optimizer is not None
    for _ in range(count):
        optimizer.zero_grad()
        state.model(torch.randn(6, 8)).square().mean().backward()
        optimizer.step()


def fingerprint(state: PlainState) -> dict[str, bytes]:
    """Every bit of the model, the optimizer and torch's generator."""
    assert state.optimizer is not None
    names = {id(parameter): name for name, parameter in state.model.named_parameters()}
    tensors = dict(state.model.state_dict()) | {"generator": torch.get_rng_state()}
    for parameter, values in state.optimizer.state.items():
        tensors |= {f"{names[id(parameter)]}/{key}": value for key, value in values.items()}
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
