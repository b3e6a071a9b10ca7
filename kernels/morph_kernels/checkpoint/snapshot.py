"""Reads a training state into names, tensors and documents. Nothing is copied yet: the tensors are the live ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from morph_kernels.checkpoint.journal import BodyRecord
from morph_kernels.checkpoint.manifest import GraftEntry
from morph_kernels.checkpoint.optimizer import describe_optimizer, trainable_names
from morph_kernels.checkpoint.state import Graft, TrainingState
from morph_kernels.checkpoint.tree import encode_tree
from morph_kernels.errors import MorphError


class DuplicateNameError(MorphError):
    """Two tensors of one state ask for the same name."""


@dataclass
class TensorTable:
    """Live tensors by stable name."""

    tensors: dict[str, torch.Tensor] = field(default_factory=dict)

    def keep(self, tensor: torch.Tensor, path: str) -> str:
        """Take a tensor and answer with the name under which it can be found.

        Raises:
            DuplicateNameError: the name is taken.
        """
        if path in self.tensors:
            raise DuplicateNameError(f"two tensors of the state are called {path!r}")
        self.tensors[path] = tensor
        return path


@dataclass(frozen=True)
class Snapshot:
    """All of a state that the ranks share."""

    tensors: Mapping[str, torch.Tensor]
    trainable: tuple[str, ...]
    model_extra: Mapping[str, Any]
    optimizer: Mapping[str, Any] | None
    parts: Mapping[str, Any]
    seeds: Any
    grafts: tuple[GraftEntry, ...]
    journal: tuple[BodyRecord, ...]


def read_snapshot(state: TrainingState) -> Snapshot:
    """Read the state.

    Raises:
        MorphError: something in it cannot be saved; the message names it.
    """
    table = TensorTable()
    extra = {}
    for name, value in state.model.state_dict().items():
        if isinstance(value, torch.Tensor):
            table.keep(value, f"model/{name}")
        else:
            extra[name] = encode_tree(value, table.keep, path=f"model-extra/{name}")
    grafts = tuple(state.grafts())
    for graft in grafts:
        table.keep(bytes_tensor(graft.blueprint), f"graft/{graft.slot}")
    optimizer = None if state.optimizer is None else describe_optimizer(state.optimizer, state.model, table.keep)
    parts = {
        name: encode_tree(part.state_dict(), table.keep, path=f"part/{name}") for name, part in state.parts.items()
    }
    return Snapshot(
        tensors=table.tensors,
        trainable=trainable_names(state.model),
        model_extra=extra,
        optimizer=optimizer,
        parts=parts,
        seeds=encode_tree(state.seeds(), table.keep, path="seed"),
        grafts=tuple(_entry(graft) for graft in grafts),
        journal=tuple(state.journal()),
    )


def bytes_tensor(data: bytes) -> torch.Tensor:
    """Return the bytes as a tensor with its own memory."""
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)


def _entry(graft: Graft) -> GraftEntry:
    return GraftEntry(slot=graft.slot, name=graft.name, digest=graft.digest, body=graft.body)
