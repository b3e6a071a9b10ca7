"""A short training: loads a ref as `MORPH_*` says, trains three steps, prints what ran and the loader's counts."""

import json
import sys

import torch

from morph_kernels.loader import KernelLoader


def main(ref: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    loader = KernelLoader()
    module = loader.load(ref).train()
    interface = module.blueprint.interface
    inputs = interface.example_inputs(dict.fromkeys(interface.symbols, 4))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        module(*inputs).square().mean().backward()
        optimizer.step()
    total = sum(float(parameter.detach().sum()) for parameter in module.parameters())
    told = {"source": module.source, "reason": module.reason, "calls": module.calls, "sum": total}
    sys.stdout.write(json.dumps(told | {"stats": loader.stats()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
