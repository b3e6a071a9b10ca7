"""The ground of the faults' benchmark: real servers, wires before them, a published kernel, and hosts by the dozen."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from morph_assets.bench.bench_kernel import BenchKernel
from morph_assets.bench.bench_publisher import TENANT, BenchPublisher, open_folder_store
from morph_assets.bench.bench_servers import RedisServer, S3Server, open_redis, open_s3
from morph_assets.bench.fault_wire import Wire, open_deaf_port, open_wire
from morph_assets.bench.interposed import Trap, build_interposer, build_trap
from morph_assets.bench.load_client import LoadClient, open_load_client
from morph_assets.bench.load_server import LoadOrder
from morph_kernels.errors import MorphError
from morph_kernels.store import ObjectStore, open_store
from morph_kernels.store.keys import bundle_key, index_prefix

# Port 1 on loopback: nobody listens there.
REFUSED_PORT = 1


class UnhealthyError(MorphError):
    """A load without any fault did not come from the tier that is measured."""


@dataclass
class FaultGround:
    """What faults are planted into; `wires` by the tier behind them, `hosts` counts the cache folders given out."""

    folder: Path
    kernel: BenchKernel
    publisher: BenchPublisher
    client: LoadClient
    redis: RedisServer
    s3: S3Server | None
    wires: Mapping[str, Wire]
    deaf_port: int
    trap: Trap
    store_url: str
    store: ObjectStore
    hosts: Iterator[int] = field(default_factory=count)

    @property
    def digest_key(self) -> str:
        """The key of the kernel's bundle in Redis."""
        return f"morph:{TENANT}:bundle:{self.kernel.manifest.digest}"

    @property
    def index_key(self) -> str:
        """The key of the blueprint's index in Redis."""
        return f"morph:{TENANT}:index:{self.kernel.blueprint.name}"

    def order(self, base: str) -> LoadOrder:
        """Return a healthy load from a tier: `disk`, `redis`, `folder store` or `S3 store`."""
        plain = LoadOrder(
            blueprint=str(self.folder / "blueprint.json"),
            name=self.kernel.blueprint.name,
            cache_dir=str(self.new_host()),
            trust_file=str(self.publisher.trust_file),
            tenant=TENANT,
            store_url=self.store_url,
        )
        if base == "disk":
            return replace(plain, cache_dir=str(self.warm_host()))
        if base == "redis":
            return replace(plain, redis_url=self.redis.url(port=self.wires["redis"].port))
        if base == "S3 store" and self.s3 is not None:
            return replace(plain, store_url=self.s3.url("bench", port=self.wires["S3 store"].port))
        return plain

    def new_host(self) -> Path:
        """Return the cache folder of a host that has nothing."""
        cache = self.folder / "hosts" / str(next(self.hosts)) / "cache"
        cache.mkdir(mode=0o700, parents=True)
        return cache

    def warm_host(self) -> Path:
        """Return the cache folder of a host that has just fetched the kernel."""
        model = self.folder / "model"
        if not model.exists():
            self.client.load(replace(self.order("folder store"), cache_dir=str(model)))
        cache = self.new_host()
        # Contents alone: copied times would make an index look as old as the benchmark.
        shutil.copytree(model, cache, dirs_exist_ok=True, copy_function=shutil.copyfile)
        return cache

    def entry(self, order: LoadOrder) -> Path:
        """Return the folder of the kernel in a host's cache."""
        return Path(order.cache_dir) / TENANT / "kernels" / self.kernel.manifest.digest

    def fill_redis(self) -> None:
        """Put the kernel and its index into an otherwise empty Redis without a limit."""
        client = self.redis.client()
        client.config_set("maxmemory", 0)
        client.flushall()
        self.publisher.fill_redis(self.redis.url(), self.kernel)

    def plant_bundle(self, data: bytes) -> None:
        """Make the folder store hold these bytes as the kernel's."""
        key = bundle_key(TENANT, self.kernel.manifest.digest)
        self.store.delete(key)
        self.store.put_if_absent(key, data)

    def empty_store(self) -> None:
        """Take the kernel and its indexes out of the folder store."""
        self.store.delete(bundle_key(TENANT, self.kernel.manifest.digest))
        for info in list(self.store.list_objects(index_prefix(TENANT, self.kernel.blueprint.name))):
            self.store.delete(info.key)

    def fill_store(self) -> None:
        """Publish the kernel to the folder store as if nothing had been there."""
        self.empty_store()
        self.publisher.publish(self.kernel, self.store)


@contextmanager
def open_fault_ground(kernel: BenchKernel) -> Iterator[FaultGround]:
    """Start the servers and the process that loads, in a folder that goes with them in the end.

    Raises:
        NoCompilerError: the libraries that make some of the faults cannot be built.
        ServicesError, LoadServerError: something does not start.
    """
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="morph-faults-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        (folder / "blueprint.json").write_bytes(kernel.blueprint.to_bytes())
        redis = stack.enter_context(open_redis(folder))
        s3 = stack.enter_context(open_s3(folder))
        url, store = open_folder_store(folder / "objects")
        publisher = BenchPublisher(folder / "trust")
        publisher.publish(kernel, store, *([open_store(s3.url("bench"))] if s3 is not None else []))
        yield FaultGround(
            folder=folder,
            kernel=kernel,
            publisher=publisher,
            client=stack.enter_context(open_load_client(folder, build_interposer(folder))),
            redis=redis,
            s3=s3,
            wires={
                "redis": stack.enter_context(open_wire(redis.port)),
                "S3 store": stack.enter_context(open_wire(s3.port if s3 is not None else REFUSED_PORT)),
            },
            deaf_port=stack.enter_context(open_deaf_port()),
            trap=build_trap(folder),
            store_url=url,
            store=store,
        )
