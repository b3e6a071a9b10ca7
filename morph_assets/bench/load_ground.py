"""The ground of the loads' benchmark: the same kernels on a disk, in Redis and in two stores, all of them healthy."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Final

from morph_assets.bench.bench_kernel import BenchKernel
from morph_assets.bench.bench_publisher import TENANT, BenchPublisher, open_folder_store
from morph_assets.bench.bench_servers import open_redis, open_s3
from morph_assets.bench.first_step import StepOrder
from morph_assets.bench.step_process import job_environment
from morph_assets.bench.warm_loads import WarmOrder, WarmReply
from morph_kernels.errors import MorphError
from morph_kernels.store import open_store

_WARM_KERNELS: Final = 6
_WARM_S: Final = 120


class BrokenLoadError(MorphError):
    """What was measured did not do what it should: its time means nothing."""


@dataclass
class LoadGround:
    """Where everything is. `tiers`: the URLs (store, Redis) that a load from each remote tier is given."""

    folder: Path
    kernel: BenchKernel
    names: tuple[str, ...]
    trust_file: Path
    redis_url: str
    tiers: dict[str, tuple[str | None, str | None]]
    hosts: Iterator[int] = field(default_factory=count)

    @property
    def blueprint(self) -> Path:
        """The file of the blueprint's document."""
        return self.folder / "blueprint.json"

    def step(self, tier: str) -> StepOrder:
        """Return the order of a first step by a loaded kernel."""
        store_url, redis_url = self.tiers[tier]
        return StepOrder(
            arm="ours",
            blueprint=str(self.blueprint),
            name=self.kernel.blueprint.name,
            cache_dir=str(self._host(tier)),
            trust_file=str(self.trust_file),
            tenant=TENANT,
            store_url=store_url,
            redis_url=redis_url,
        )

    def plain_step(self, order: StepOrder) -> StepOrder:
        """Return the order with the blueprint filled in."""
        return replace(order, blueprint=str(self.blueprint), name=self.kernel.blueprint.name)

    def load_warm(self, tier: str, *, cache_dir: Path | None = None, calls: bool = False) -> WarmReply:
        """Return how first loads from a tier go in a process that has loaded another kernel from it.

        Raises:
            BrokenLoadError: they came from elsewhere.
        """
        store_url, redis_url = self.tiers[tier]
        order = WarmOrder(
            blueprint=str(self.blueprint),
            names=self.names,
            cache_dir=str(cache_dir or self._host(tier)),
            trust_file=str(self.trust_file),
            tenant=TENANT,
            store_url=store_url,
            redis_url=redis_url,
            calls=calls,
        )
        command = [sys.executable, "-m", "morph_assets.bench.warm_loads", json.dumps(asdict(order))]
        done = subprocess.run(
            command, env=job_environment(), capture_output=True, text=True, check=False, timeout=_WARM_S
        )
        if done.returncode:
            raise BrokenLoadError(f"loads from {tier} ended: {done.stderr[-500:]}")
        reply = WarmReply(**json.loads(done.stdout))
        if set(reply.sources) != {source_of(tier)}:
            raise BrokenLoadError(f"loads from {tier} came from {', '.join(reply.sources)}")
        return reply

    def _host(self, tier: str) -> Path:
        """Return the cache folder of a host: with the kernels, the same moved elsewhere, or with nothing."""
        if tier == "disk":
            for index in (self.folder / "model").glob("*/index/*.index"):
                # Confirmed now, as by a job that has been running.
                index.touch()
            return self.folder / "model"
        cache = self.folder / "hosts" / str(next(self.hosts)) / "deeper" / "cache"
        cache.mkdir(mode=0o700, parents=True)
        if tier == "disk, relocated":
            shutil.copytree(self.folder / "model", cache, dirs_exist_ok=True, copy_function=shutil.copyfile)
        return cache


def source_of(tier: str) -> str:
    """Return what a module from that tier says of its source."""
    return {"redis": "redis", "folder store": "store", "S3 store": "store"}.get(tier, "disk")


@contextmanager
def open_load_ground(kernel: BenchKernel) -> Iterator[LoadGround]:
    """Start the servers, publish the kernels everywhere and bring them onto one disk.

    Raises:
        BrokenLoadError: they cannot be loaded.
        ServicesError: a server does not start.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="morph-load-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "blueprint.json").write_bytes(kernel.blueprint.to_bytes())
        redis = stack.enter_context(open_redis(folder))
        s3 = stack.enter_context(open_s3(folder))
        url, store = open_folder_store(folder / "objects")
        tiers: dict[str, tuple[str | None, str | None]] = {
            "disk": (url, redis.url()),
            "disk, relocated": (url, redis.url()),
            "redis": (url, redis.url()),
            "folder store": (url, None),
        }
        stores = [store]
        if s3 is not None:
            tiers["S3 store"] = (s3.url("bench"), None)
            stores.append(open_store(s3.url("bench")))
        publisher = BenchPublisher(folder / "trust")
        kernels = [kernel, *(kernel.renamed(number) for number in range(1, _WARM_KERNELS))]
        for one in kernels:
            publisher.publish(one, *stores)
            publisher.fill_redis(redis.url(), one)
        names = tuple(one.blueprint.name for one in kernels)
        ground = LoadGround(folder, kernel, names, publisher.trust_file, redis.url(), tiers)
        ground.load_warm("folder store", cache_dir=folder / "model")
        yield ground
