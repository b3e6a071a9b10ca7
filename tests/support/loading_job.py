"""A training process that loads a kernel and trains a step for every name that it reads, and tells how it went.

Run as `python -m tests.support.loading_job '<settings as JSON>'`.
"""

import atexit
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from morph_kernels.blueprint import Blueprint
from morph_kernels.loader import KernelLoader
from morph_kernels.settings import Endpoints, RuntimeSettings


def read_settings(options: dict[str, Any]) -> RuntimeSettings:
    """Return the settings of a host that asks for the index at every load."""
    endpoints = Endpoints(
        redis_url=options["redis_url"],
        store_url=options["store_url"],
        database_urls={"*": options["database_url"]},
        trust_file=Path(options["trust_file"]),
    )
    return RuntimeSettings(
        endpoints=endpoints,
        cache_dir=Path(options["cache_dir"]),
        deadline_s=options["deadline_s"],
        refresh_s=1e-6,
        breaker_rest_s=options["breaker_rest_s"],
    )


def main() -> None:
    """Load, train, tell; until there are no more names."""
    torch.set_num_threads(1)
    options = json.loads(sys.argv[1])
    loader = KernelLoader(read_settings(options))
    document = Path(options["blueprint"]).read_bytes()
    for line in sys.stdin:
        blueprint = Blueprint.from_bytes(document, name=line.strip())
        started = time.monotonic()
        kernel = loader.load(blueprint).train()
        seconds = time.monotonic() - started
        inputs = kernel.blueprint.interface.example_inputs(dict.fromkeys(kernel.blueprint.interface.symbols, 4))
        kernel(*inputs).sum().backward()
        loader.at_boundary()
        heavy = [name for name in ("psycopg", "dagster", "torch._dynamo", "torch._inductor") if name in sys.modules]
        told = {"seconds": seconds, "source": kernel.source, "reason": kernel.reason, "heavy": heavy}
        tell(told | {"stats": loader.stats()})
    ended = time.monotonic()
    # The interpreter waits for threads before it calls this; what torch takes afterwards is its own affair.
    atexit.register(lambda: tell({"waited_s": time.monotonic() - ended}))


def tell(document: dict[str, Any]) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
