"""Libraries that tell when they were executed: real shared objects whose constructor writes a file."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from morph_assets.bench.interposed import Trap, build_trap
from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.manifest import KernelManifest, Library
from morph_kernels.artifact.target import build_key
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import BlobDigest
from tests.support.kernels import TestKernel


class TrapKernels(Trap):
    """A trap, and kernels that are made of it."""

    def kernel(self, like: TestKernel, **target: object) -> TestKernel:
        """Return a kernel that is well made in every way, and whose libraries are the trap."""
        libraries = {"forward": self.library, "backward": self.library + b"\0"}
        listed = tuple(
            Library(library.role, BlobDigest(sha256_hex(data)), len(data))
            for library, data in zip(like.manifest.libraries, libraries.values(), strict=True)
        )
        manifest = remade(replace(like.manifest, libraries=listed), **target)
        return replace(like, manifest=manifest, bundle=KernelBundle(manifest.to_bytes(), libraries))


def remade(manifest: KernelManifest, **target: object) -> KernelManifest:
    """Return a manifest with another target, and the build key that follows from it."""
    changed = replace(manifest.target, **target)  # type: ignore[arg-type]  # any field
    key = build_key(
        manifest.blueprint_digest,
        changed,
        toolchain=manifest.toolchain,
        pipeline=manifest.pipeline,
        recipe_version=manifest.recipe_version,
    )
    return replace(manifest, target=changed, build_key=key)


@pytest.fixture(scope="session")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrapKernels]:
    """A trap that nothing may spring in the whole session."""
    made = build_trap(tmp_path_factory.mktemp("trap"))
    yield TrapKernels(made.library, made.marker)
    assert not made.was_sprung
