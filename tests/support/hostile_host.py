"""A host whose tiers hold what an attacker or a bad disk put there, and what must still work on it."""

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from morph_kernels.artifact.bundle import KernelBundle, encode_bundle
from morph_kernels.artifact.manifest import KernelManifest
from morph_kernels.artifact.trust import create_trust
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.cache.disk_index import DiskIndex
from morph_kernels.cache.disk_tier import DiskTier
from morph_kernels.identity import KernelDigest
from morph_kernels.loader import KernelModule
from morph_kernels.store.keys import bundle_key, index_key
from tests.support.publishing import Publisher
from tests.support.traps import TrapKernels
from tests.support.valkey import Valkey

NAME = "ffn_gelu"
REF = f"{NAME}@production"
TIERS = ["disk", "redis", "store"]
_LASTING = ("morph-lease", "morph-watch", "morph-checkpoint")


@dataclass
class HostileHost:
    """A publisher's host and the servers it asks; `plant_*` puts anything into any tier, over what is there."""

    publisher: Publisher
    valkey: Valkey
    trap: TrapKernels

    def folder(self, host: str = "host") -> DiskFolder:
        """Return a host's private folder."""
        return DiskFolder(self.publisher.folder / host / "cache", tenant=self.publisher.tenant)

    def index(self, host: str = "host") -> DiskIndex:
        """The indexes that a host keeps, which believes this publisher's root."""
        return DiskIndex(self.folder(host), root=self.publisher.root)

    def disk(self, host: str = "host") -> DiskTier:
        """Return a host's disk tier."""
        return DiskTier(self.folder(host))

    def plant_bundle(self, tier: str, manifest: KernelManifest, content: KernelBundle | bytes) -> None:
        """Make a tier say that these bytes are the kernel of that manifest, and no other tier know it."""
        digest = manifest.digest
        self.forget_bundle(digest)
        if tier == "disk":
            assert isinstance(content, KernelBundle), "the disk holds no encoded bundles"
            self._plant_on_disk(manifest, content)
            return
        data = encode_bundle(content) if isinstance(content, KernelBundle) else content
        if tier == "redis":
            self.valkey.client().set(f"morph:{self.publisher.tenant}:bundle:{digest}", data)
        else:
            self.publisher.store.put_if_absent(bundle_key(self.publisher.tenant, digest), data)

    def forget_bundle(self, digest: KernelDigest) -> None:
        """Take a kernel out of every tier."""
        self.publisher.store.delete(bundle_key(self.publisher.tenant, digest))
        self.valkey.client().delete(f"morph:{self.publisher.tenant}:bundle:{digest}")
        self.disk().drop(digest)

    def plant_index(self, tier: str, name: str, envelope: bytes, *, generation: int) -> None:
        """Make a tier say that this is the newest index, and no other tier know one."""
        tenant = self.publisher.tenant
        for info in list(self.publisher.store.list_objects(f"tenants/{tenant}/index/{name}")):
            self.publisher.store.delete(info.key)
        if tier == "disk":
            self.index().put(name, generation, envelope)
        elif tier == "redis":
            self.valkey.client().set(f"morph:{tenant}:index:{name}", envelope)
        else:
            self.publisher.store.put_if_absent(index_key(tenant, name, generation), envelope)

    def _plant_on_disk(self, manifest: KernelManifest, content: KernelBundle) -> None:
        folder = self.folder().make("kernels") / manifest.digest
        folder.mkdir(mode=0o700)
        (folder / "manifest.json").write_bytes(content.manifest)
        for library in manifest.libraries:
            with suppress(KeyError):
                path = folder / f"{library.role}-{library.digest}.so"
                path.write_bytes(content.libraries[library.role])


@pytest.fixture(scope="session")
def trusted_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trust folder, made once: a key is flushed to disk, and there are many hosts."""
    folder = tmp_path_factory.mktemp("keys") / "trust"
    create_trust(folder)
    return folder


@pytest.fixture
def host(tmp_path: Path, trusted_keys: Path, valkey: Valkey, trap: TrapKernels) -> Iterator[HostileHost]:
    """A host with an empty disk, an empty Redis and an empty store."""
    shutil.copytree(trusted_keys, tmp_path / "trust")
    yield HostileHost(Publisher(tmp_path, redis_url=valkey.url), valkey, trap)
    # Nothing of this test is written to the next one's servers.
    join_background()


def assert_works(module: KernelModule) -> None:
    """Train one step and compare with the blueprint's own module, which no loader ever touched."""
    eager = module.blueprint.build(seed=0).train()
    sizes = {symbol: min(4, allowed.max) for symbol, allowed in module.blueprint.interface.symbols.items()}
    inputs = module.blueprint.interface.example_inputs(sizes)
    results = []
    for one in (module.train(), eager):
        torch.manual_seed(3)
        output = one(*inputs)
        output.square().mean().backward()
        results.append([output.detach(), *(parameter.grad for parameter in one.parameters())])
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)


def join_background() -> None:
    """Wait for what the loader does behind the caller's back, also where it is just being started."""
    deadline = time.monotonic() + 10
    while any(map(_ends, threading.enumerate())) and time.monotonic() < deadline:
        time.sleep(0.002)


def _ends(thread: threading.Thread) -> bool:
    # A checkpointer's lease thread and its writer, and a loader's watch, live as long as those.
    return thread.name.startswith("morph-") and not thread.name.startswith(_LASTING)
