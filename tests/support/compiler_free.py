"""Trains one step with a compiled body in a process of its own and prints which compiler modules came along."""

import sys
from pathlib import Path

import torch

from morph_kernels.artifact.manifest import parse_manifest
from morph_kernels.loader.body import open_body
from morph_kernels.loader.module import KernelModule
from tests.support.trap_kernel import TRAPS


def main(manifest: str, forward: str, backward: str) -> None:
    body = open_body(parse_manifest(Path(manifest).read_bytes()), forward=Path(forward), backward=Path(backward), cap=1)
    module = KernelModule(TRAPS).train()
    module.use_body(body, "disk")
    module(torch.ones(3, 4, 8)).sum().backward()
    assert module.calls == {"compiled": 1}
    sys.stdout.write(
        str(sorted({".".join(name.split(".")[:2]) for name in sys.modules} & {"torch._dynamo", "torch._inductor"}))
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
