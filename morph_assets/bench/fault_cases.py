"""Every fault by the tier that it strikes: what is done to a load that would be healthy."""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import zstandard

from morph_assets.bench.bench_publisher import TENANT
from morph_assets.bench.fault_ground import REFUSED_PORT, FaultGround, UnhealthyError
from morph_assets.bench.fault_wire import WireMode
from morph_assets.bench.load_server import DiskState, LoadOrder
from morph_kernels.artifact.bundle import KernelBundle, encode_bundle
from morph_kernels.store.keys import index_key

_DAYS_400: Final = 400 * 24 * 3600
_BOMB_BYTES: Final = 64 * 1024**2
OpenFault = Callable[[FaultGround], AbstractContextManager[LoadOrder]]


@dataclass(frozen=True)
class Fault:
    """A fault, and the healthy load (`FaultGround.order`) that it is compared with."""

    tier: str
    name: str
    base: str
    open: OpenFault


def list_faults() -> tuple[Fault, ...]:
    """Return every fault of a single load, by tier."""
    found = [Fault("disk", name, "disk", opened) for name, opened in _disk_faults().items()]
    found += [Fault("redis", name, "redis", opened) for name, opened in _redis_faults().items()]
    found += [Fault("store", name, "S3 store", opened) for name, opened in _s3_faults().items()]
    found += [Fault("store", name, "folder store", opened) for name, opened in _folder_faults().items()]
    return tuple(found)


def _disk_faults() -> Mapping[str, OpenFault]:
    return {
        "corrupted library": _on_disk(lambda ground: _flip(_forward(ground))),
        "truncated library": _on_disk(lambda ground: _forward(ground)[:-4096]),
        "substituted library": _on_disk(_trapped_forward),
        "manifest of a later format": _disk_manifest_of_a_later_format,
        "flushed": _disk_flushed,
        "read-only, kernel there": _on_a_disk("read-only", "disk"),
        "read-only, empty": _on_a_disk("read-only", "folder store"),
        "full": _on_a_disk("full", "folder store"),
        "clock jumps 400 days ahead": _after_a_jump("disk", _DAYS_400),
        "clock jumps 400 days back": _after_a_jump("disk", -_DAYS_400),
    }


def _redis_faults() -> Mapping[str, OpenFault]:
    planted = {name: _in_redis(content) for name, content in _BUNDLES.items()}
    return {
        "refused": _redis_at(lambda ground: ground.redis.url(port=REFUSED_PORT)),
        "black-holed, connecting": _redis_at(lambda ground: ground.redis.url(port=ground.deaf_port)),
        "black-holed, connected": _on_wire("redis", "silent"),
        "slow, 200 ms an answer": _on_wire("redis", "slow"),
        "ends each connection": _on_wire("redis", "refuse"),
        "full": _redis_full,
        "flushed": _redis_flushed,
        "wrong password": _redis_at(lambda ground: ground.redis.url(password="of-another-server")),  # noqa: S106 - wrong
        **planted,
        "index of a later format": _redis_index_of_a_later_format,
    }


def _s3_faults() -> Mapping[str, OpenFault]:
    return {
        "refused": _s3_at(lambda ground: _s3_url(ground, port=REFUSED_PORT)),
        "black-holed, connecting": _s3_at(lambda ground: _s3_url(ground, port=ground.deaf_port)),
        "black-holed, connected": _on_wire("S3 store", "silent"),
        "slow, 200 ms an answer": _on_wire("S3 store", "slow"),
        "ends each connection": _on_wire("S3 store", "refuse"),
        "wrong secret": _s3_at(lambda ground: _s3_url(ground, secret="of-another-server")),  # noqa: S106 - wrong
        "clock jumps 400 days ahead": _after_a_jump("S3 store", _DAYS_400),
    }


def _folder_faults() -> Mapping[str, OpenFault]:
    planted = {name: _in_the_store(content) for name, content in _BUNDLES.items()}
    return {"flushed": _store_flushed, **planted, "index of a later format": _store_index_of_a_later_format}


def _forward(ground: FaultGround) -> bytes:
    return ground.kernel.bundle.libraries["forward"]


def _flip(data: bytes) -> bytes:
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]


def _trapped_forward(ground: FaultGround) -> bytes:
    return ground.trap.library.ljust(len(_forward(ground)), b"\0")


def _substituted(ground: FaultGround) -> bytes:
    bundle = ground.kernel.bundle
    return encode_bundle(KernelBundle(bundle.manifest, {**bundle.libraries, "forward": _trapped_forward(ground)}))


_BUNDLES: Final[Mapping[str, Callable[[FaultGround], bytes]]] = {
    "corrupted value": lambda ground: _flip(encode_bundle(ground.kernel.bundle)),
    "truncated value": lambda ground: encode_bundle(ground.kernel.bundle)[:-4096],
    "decompression bomb": lambda _: zstandard.compress(bytes(_BOMB_BYTES)),
    "substituted entry": _substituted,
}


def _on_disk(library: Callable[[FaultGround], bytes]) -> OpenFault:
    """Put other bytes into the forward library's file, under the name that says what they should be."""

    @contextmanager
    def fault(ground: FaultGround) -> Iterator[LoadOrder]:
        order = ground.order("disk")
        (path,) = ground.entry(order).glob("forward-*.so")
        path.write_bytes(library(ground))
        yield order

    return fault


@contextmanager
def _disk_manifest_of_a_later_format(ground: FaultGround) -> Iterator[LoadOrder]:
    order = ground.order("disk")
    manifest = ground.kernel.bundle.manifest.replace(b'"format_version":1', b'"format_version":9')
    (ground.entry(order) / "manifest.json").write_bytes(manifest)
    yield order


@contextmanager
def _disk_flushed(ground: FaultGround) -> Iterator[LoadOrder]:
    order = ground.order("disk")
    shutil.rmtree(Path(order.cache_dir))
    yield order


def _changed(base: str, change: Callable[[FaultGround, LoadOrder], LoadOrder]) -> OpenFault:
    """Order a healthy load of a tier in another way."""

    @contextmanager
    def fault(ground: FaultGround) -> Iterator[LoadOrder]:
        yield change(ground, ground.order(base))

    return fault


def _on_a_disk(disk: DiskState, base: str) -> OpenFault:
    return _changed(base, lambda _, order: replace(order, disk=disk))


def _after_a_jump(base: str, seconds: int) -> OpenFault:
    return _changed(base, lambda _, order: replace(order, clock_s=seconds))


def _redis_at(url: Callable[[FaultGround], str]) -> OpenFault:
    return _changed("redis", lambda ground, order: replace(order, redis_url=url(ground)))


def _s3_at(url: Callable[[FaultGround], str]) -> OpenFault:
    return _changed("S3 store", lambda ground, order: replace(order, store_url=url(ground)))


def _on_wire(base: str, mode: WireMode) -> OpenFault:
    @contextmanager
    def fault(ground: FaultGround) -> Iterator[LoadOrder]:
        wire = ground.wires[base]
        wire.mode = mode
        try:
            yield ground.order(base)
        finally:
            wire.mode = "pass"

    return fault


@contextmanager
def _redis_full(ground: FaultGround) -> Iterator[LoadOrder]:
    """Give it less memory than it holds; it evicts nothing, so it refuses whatever writes."""
    import redis

    client = ground.redis.client()
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", client.info("memory")["used_memory"] // 2)
    try:
        client.set("one more", "x")
    except redis.exceptions.OutOfMemoryError:
        yield ground.order("redis")
    else:
        raise UnhealthyError("Redis took a value above its limit: it is not full")


@contextmanager
def _redis_flushed(ground: FaultGround) -> Iterator[LoadOrder]:
    ground.redis.client().flushall()
    yield ground.order("redis")


def _in_redis(content: Callable[[FaultGround], bytes]) -> OpenFault:
    @contextmanager
    def fault(ground: FaultGround) -> Iterator[LoadOrder]:
        ground.redis.client().set(ground.digest_key, content(ground))
        yield ground.order("redis")

    return fault


@contextmanager
def _redis_index_of_a_later_format(ground: FaultGround) -> Iterator[LoadOrder]:
    ground.redis.client().set(ground.index_key, ground.publisher.sign_index(ground.kernel, later=1))
    yield ground.order("redis")


def _s3_url(ground: FaultGround, *, port: int | None = None, secret: str | None = None) -> str:
    return ground.s3.url("bench", port=port, secret=secret) if ground.s3 is not None else ground.store_url


@contextmanager
def _store_flushed(ground: FaultGround) -> Iterator[LoadOrder]:
    ground.empty_store()
    try:
        yield ground.order("folder store")
    finally:
        ground.fill_store()


def _in_the_store(content: Callable[[FaultGround], bytes]) -> OpenFault:
    @contextmanager
    def fault(ground: FaultGround) -> Iterator[LoadOrder]:
        ground.plant_bundle(content(ground))
        try:
            yield ground.order("folder store")
        finally:
            ground.plant_bundle(encode_bundle(ground.kernel.bundle))

    return fault


@contextmanager
def _store_index_of_a_later_format(ground: FaultGround) -> Iterator[LoadOrder]:
    envelope = ground.publisher.sign_index(ground.kernel, later=1)
    key = index_key(TENANT, ground.kernel.blueprint.name, ground.publisher.generation)
    ground.store.put_if_absent(key, envelope)
    try:
        yield ground.order("folder store")
    finally:
        ground.store.delete(key)
