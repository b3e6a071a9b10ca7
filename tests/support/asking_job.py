"""A training process that loads a whole library whenever it is told to, and says where each kernel came from.

Run as `python -m tests.support.asking_job FOLDER`: the folder holds blueprints, the environment says the rest.
"""

import json
import sys
from pathlib import Path

import torch

from morph_kernels.blueprint import Blueprint
from morph_kernels.loader import KernelLoader


def main() -> None:
    """Load and tell, line for line."""
    torch.set_num_threads(1)
    loader = KernelLoader()
    documents = {path.stem: path.read_bytes() for path in sorted(Path(sys.argv[1]).glob("*.json"))}
    for _ in sys.stdin:
        told = {}
        for name, document in documents.items():
            kernel = loader.load(Blueprint.from_bytes(document, name=name)).train()
            inputs = kernel.blueprint.interface.example_inputs(dict.fromkeys(kernel.blueprint.interface.symbols, 4))
            kernel(*inputs).sum().backward()
            told[name] = [kernel.source, kernel.reason, kernel.digest]
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
