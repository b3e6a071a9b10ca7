"""A training process that loads kernels at random until its input ends, and tells of every load what it took and gave.

Run as `python -m tests.support.soaking_job SEED NAME...`; the environment says the rest.
"""

import json
import random
import resource
import sys
import threading
import time
from pathlib import Path

import torch

from morph_kernels.loader import KernelLoader
from morph_kernels.loader.body import loaded_digests

# A loader knows what it has verified: a new one asks disk, Redis and store again.
_LOADS_A_LOADER = 5
_PAGE_BYTES = resource.getpagesize()


def main(seed: int, names: list[str]) -> None:
    """Load, train, compare, tell."""
    torch.set_num_threads(1)
    chance = random.Random(seed)  # noqa: S311 - the same choices every time
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    number = 0
    while not over.is_set():
        if number % _LOADS_A_LOADER == 0:
            loader = KernelLoader()
        tell(load(loader, chance.choice(names)))
        number += 1


def load(loader: KernelLoader, name: str) -> dict[str, object]:
    """Load a name, train a step and compare it with eager; tell how it went and what this process holds."""
    started = time.monotonic()
    module = loader.load(name)
    seconds = time.monotonic() - started
    digest = module.digest
    right = _steps_like(module)
    loader.at_boundary()
    return {
        "name": name,
        "started": started,
        "seconds": seconds,
        "source": module.source,
        "reason": module.reason,
        "digest": digest,
        "right": right,
        "rss": int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES,
        "descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
        "loaded": len(loaded_digests()),
    }


def _steps_like(module: torch.nn.Module) -> bool:
    """Return whether a step gives what the blueprint's own module gives."""
    eager = module.blueprint.build(seed=0).train()
    inputs = module.blueprint.interface.example_inputs(dict.fromkeys(module.blueprint.interface.symbols, 4))
    results = []
    for one in (module.train(), eager):
        torch.manual_seed(3)
        output = one(*inputs)
        output.square().mean().backward()
        results.append([output, *(parameter.grad for parameter in one.parameters())])
    return all(torch.allclose(mine, theirs, rtol=1e-4, atol=1e-5) for mine, theirs in zip(*results, strict=True))


def tell(document: dict[str, object]) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
