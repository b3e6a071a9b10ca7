"""One rank of a data-parallel step loop over a compiled body, and the same work in one process for comparison."""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from morph_kernels.artifact.manifest import parse_manifest
from morph_kernels.blueprint import library
from morph_kernels.loader.body import open_body
from morph_kernels.loader.module import KernelModule

BLUEPRINT = next(blueprint for blueprint in library() if blueprint.name == "squeeze_excite")
STEPS, BATCH = 3, 8
SIZES = {"height": 5, "width": 6}


def batches(rank: int, size: int) -> list[torch.Tensor]:
    """Return this rank's share of every global batch."""
    shares = []
    for step in range(STEPS):
        (whole,) = BLUEPRINT.interface.example_inputs({"batch": BATCH, **SIZES}, seed=step)
        shares.append(whole.chunk(size)[rank])
    return shares


def train(module: nn.Module, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Train a few steps; return the last gradients and the parameters."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for x in inputs:
        optimizer.zero_grad()
        module(x).square().mean().backward()
        optimizer.step()
    return [part.detach().clone() for p in module.parameters() for part in (p.grad, p) if part is not None]


def data_parallel(rank: int, folder: str, group: dist.ProcessGroup) -> tuple[list[list[float]], int]:
    """Train on this rank's share; return gradients and parameters as numbers, and how often the body ran."""
    manifest, forward, backward = (Path(folder, name) for name in Path(folder, "files").read_text().split())
    module = KernelModule(BLUEPRINT, seed=7).train()
    body = open_body(parse_manifest(manifest.read_bytes()), forward=forward, backward=backward, cap=1)
    module.use_body(body, "disk")
    parallel = DistributedDataParallel(module, process_group=group)
    numbers = [tensor.flatten().tolist() for tensor in train(parallel, batches(rank, group.size()))]
    return numbers, module.calls["compiled"]
