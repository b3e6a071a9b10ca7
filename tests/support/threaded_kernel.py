"""Runs the kernel of `trap_kernel` with a number of threads and compares it with eager; a process of its own.

A kernel that overruns its stack takes the process with it, so a test cannot do this inside itself.
"""

import sys
from pathlib import Path

import torch

from morph_kernels.artifact.manifest import parse_manifest
from morph_kernels.loader.body import open_body
from morph_kernels.loader.module import KernelModule
from tests.support.trap_kernel import TRAPS


def main(manifest: str, forward: str, backward: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    body = open_body(parse_manifest(Path(manifest).read_bytes()), forward=Path(forward), backward=Path(backward), cap=1)
    module, eager = KernelModule(TRAPS).train(), TRAPS.build(0).double()
    module.use_body(body, "disk")
    (x,) = TRAPS.interface.example_inputs({"batch": 512, "seq": 64})
    exact = x.double()
    for _ in range(3):
        output, expected = module(x.requires_grad_()), eager(exact.requires_grad_())
        (dx,) = torch.autograd.grad(output.sum(), x)
        (dx_exact,) = torch.autograd.grad(expected.sum(), exact)
        for actual, truth in ((output, expected), (dx, dx_exact)):
            assert (actual - truth).norm() <= 1e-4 * truth.norm()
    assert module.calls == {"compiled": 3}


if __name__ == "__main__":
    main(*sys.argv[1:])
