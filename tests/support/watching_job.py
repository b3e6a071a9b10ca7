"""A training process that loads one ref and does what it is told: load again, or cross a boundary.

Run as `python -m tests.support.watching_job '<settings as JSON>'`.
"""

import json
import sys
import time
from pathlib import Path

import torch

from morph_kernels.loader import KernelLoader
from morph_kernels.settings import Endpoints, RuntimeSettings


def main() -> None:
    """Tell after every line what the first body and a new load run, and whether Redis is listened to."""
    torch.set_num_threads(1)
    options = json.loads(sys.argv[1])
    endpoints = Endpoints(
        redis_url=options["redis_url"], store_url=options["store_url"], trust_file=Path(options["trust_file"])
    )
    loader = KernelLoader(
        RuntimeSettings(
            endpoints=endpoints,
            tenant=options["tenant"],
            cache_dir=Path(options["cache_dir"]),
            deadline_s=2.0,
            refresh_s=options["refresh_s"],
        )
    )
    held = loader.load(options["ref"])
    for line in sys.stdin:
        if line.strip() == "boundary":
            loader.at_boundary()
        began = time.perf_counter()
        fresh = loader.load(options["ref"]) if line.strip() == "load" else held
        told = {"held": held.source, "fresh": fresh.source, "reason": fresh.reason}
        told |= {"seconds": time.perf_counter() - began, "cpu_s": time.process_time()}
        sys.stdout.write(json.dumps(told | {"pushes": loader.stats()["index_pushes"]}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
