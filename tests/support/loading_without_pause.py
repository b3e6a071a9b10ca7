"""A training job that loads kernels again and again, each time as a new loader does, until it is told to stop.

Run as `python -m tests.support.loading_without_pause REF...` with `MORPH_*` set; it prints a line when it begins, ends
when its input does, and then tells every load.
"""

import json
import select
import sys
import time

import torch

from morph_kernels.loader import KernelLoader


def main(refs: list[str]) -> None:
    torch.set_num_threads(1)
    loads = []
    while not select.select([sys.stdin], [], [], 0)[0]:
        loader = KernelLoader()
        for ref in refs:
            started = time.monotonic()
            module = loader.load(ref)
            seconds = time.monotonic() - started
            loads.append({"seconds": seconds, "source": module.source, "wrong": is_wrong(module)})
        if len(loads) == len(refs):
            tell("training")
    tell({"loads": loads, "deadline_s": loader.settings.deadline_s})


def is_wrong(module: torch.nn.Module) -> bool:
    """Return whether a step of training ran eager, or differs from the blueprint's own module."""
    interface = module.blueprint.interface
    inputs = interface.example_inputs(dict.fromkeys(interface.symbols, 4))
    gradients = []
    for one in (module.train(), module.blueprint.build(seed=0).train()):
        torch.manual_seed(3)
        one(*inputs).square().mean().backward()
        gradients.append([parameter.grad for parameter in one.parameters()])
    same = all(torch.allclose(*pair, rtol=1e-4, atol=1e-5) for pair in zip(*gradients, strict=True))
    return not same or module.calls != {"compiled": 1}


def tell(document: object) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
