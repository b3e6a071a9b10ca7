"""A hundred kernels' copies, each damaged in one of the ways that disks, networks and people damage them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

from morph_kernels.artifact.bundle import KernelBundle, encode_bundle
from morph_kernels.artifact.manifest import Library
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import BlobDigest
from morph_kernels.store.keys import bundle_key
from tests.support.kernels import TestKernel
from tests.support.platform import TestPlatform
from tests.support.traps import remade


@dataclass(frozen=True)
class Planted:
    """One damage: whose copy, in which tier, of what kind."""

    digest: str
    tier: str
    kind: str


def many_kernels(like: TestKernel, count: int) -> list[TestKernel]:
    """Return kernels that differ in what they were made with, with libraries of a few bytes: nobody runs them."""
    return [_kernel(like, number) for number in range(count)]


def _kernel(like: TestKernel, number: int) -> TestKernel:
    libraries = {
        "forward": f"forward {number} ".encode() * 3000,
        "backward": f"backward {number} ".encode() * 3000,
    }
    listed = tuple(
        Library(library.role, BlobDigest(sha256_hex(libraries[library.role])), len(libraries[library.role]))
        for library in like.manifest.libraries
    )
    toolchain = f"{like.manifest.toolchain} {number}"
    manifest = remade(replace(like.manifest, libraries=listed, toolchain=toolchain))
    return replace(like, manifest=manifest, bundle=KernelBundle(manifest.to_bytes(), libraries))


Damaging = Callable[[TestPlatform, TestKernel, TestKernel], None]


def flip(data: bytes) -> bytes:
    """Return the bytes with one bit changed in the middle."""
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _object(made: TestPlatform, kernel: TestKernel) -> Path:
    return made.objects / bundle_key(made.config.tenant, kernel.manifest.digest)


def _in_store(change: Callable[[bytes], bytes]) -> Damaging:
    def damage(made: TestPlatform, kernel: TestKernel, _other: TestKernel) -> None:
        _rewrite(_object(made, kernel), change)

    return damage


def _in_redis(change: Callable[[bytes], bytes]) -> Damaging:
    def damage(made: TestPlatform, kernel: TestKernel, _other: TestKernel) -> None:
        made.platform.connections.redis.put_bundle(kernel.manifest.digest, change(encode_bundle(kernel.bundle)))

    return damage


def _on_disk(pattern: str, change: Callable[[bytes], bytes]) -> Damaging:
    def damage(made: TestPlatform, kernel: TestKernel, _other: TestKernel) -> None:
        _rewrite(next(_entry(made, kernel).glob(pattern)), change)

    return damage


def _rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    data = change(path.read_bytes())
    path.chmod(0o600)
    path.write_bytes(data)


def _entry(made: TestPlatform, kernel: TestKernel) -> Path:
    return made.config.runtime.cache_dir / made.config.tenant / "kernels" / kernel.manifest.digest


def _swap_on_disk(made: TestPlatform, kernel: TestKernel, _other: TestKernel) -> None:
    forward, backward = (next(_entry(made, kernel).glob(f"{role}-*")) for role in ("forward", "backward"))
    one, other = forward.read_bytes(), backward.read_bytes()
    forward.write_bytes(other)
    backward.write_bytes(one)


def _another_on_disk(made: TestPlatform, kernel: TestKernel, other: TestKernel) -> None:
    manifest = _entry(made, kernel) / "manifest.json"
    manifest.write_bytes(other.bundle.manifest)


# A disk or a Redis that lacks a kernel is no damage; a store that does is, and so is an entry that lost a file.
DAMAGES: dict[str, dict[str, Damaging]] = {
    "store": {
        "flipped bit": _in_store(flip),
        "truncation": _in_store(lambda data: data[: len(data) // 3]),
        "nothing left": _in_store(lambda _data: b""),
        "missing object": lambda made, kernel, _other: _object(made, kernel).unlink(),
        "another kernel": lambda made, kernel, other: _rewrite(
            _object(made, kernel), lambda _data: encode_bundle(other.bundle)
        ),
    },
    "redis": {
        "flipped bit": _in_redis(flip),
        "truncation": _in_redis(lambda data: data[:-1]),
        "another kernel": lambda made, kernel, other: made.platform.connections.redis.put_bundle(
            kernel.manifest.digest, encode_bundle(other.bundle)
        ),
        "bytes after the frame": _in_redis(lambda data: data + b"x"),
        "no bundle": _in_redis(lambda _data: b"<html>502</html>"),
    },
    "disk": {
        "flipped bit": _on_disk("forward-*.so", flip),
        "truncation": _on_disk("backward-*.so", lambda data: data[:-100]),
        "swapped libraries": _swap_on_disk,
        "missing file": lambda made, kernel, _other: (_entry(made, kernel) / "manifest.json").unlink(),
        "another kernel": _another_on_disk,
    },
}
_PAIRS = (("store", "redis"), ("redis", "disk"), ("disk", "store"))


def plant(made: TestPlatform, kernels: list[TestKernel]) -> set[Planted]:
    """Damage two copies of each kernel, so that all kinds come up in all tiers, and one copy of each stays whole."""
    kinds = {tier: cycle(damages.items()) for tier, damages in DAMAGES.items()}
    planted = set()
    for number, (kernel, pair) in enumerate(zip(kernels, cycle(_PAIRS), strict=False)):
        other = kernels[number - 1]
        for tier in pair:
            kind, damage = next(kinds[tier])
            damage(made, kernel, other)
            planted.add(Planted(kernel.manifest.digest, tier, kind))
    return planted
