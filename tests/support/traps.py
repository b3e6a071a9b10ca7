"""Libraries that tell when they were executed: real shared objects whose constructor writes a file."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.manifest import KernelManifest, Library
from morph_kernels.artifact.target import build_key
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import BlobDigest
from tests.support.kernels import TestKernel

_SOURCE = """
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void sprung(void) {
    int file = open(MARKER, O_WRONLY | O_CREAT, 0600);
    if (file >= 0) close(file);
}
"""


@dataclass(frozen=True)
class Trap:
    """A library that was compiled to write a file as soon as any process links it."""

    library: bytes
    marker: Path

    @property
    def was_sprung(self) -> bool:
        """Whether anybody executed it."""
        return self.marker.exists()

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
def trap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trap]:
    """A trap that nothing may spring in the whole session."""
    folder = tmp_path_factory.mktemp("trap")
    marker, source, library = folder / "sprung", folder / "trap.c", folder / "trap.so"
    source.write_text(_SOURCE)
    command = ["gcc", "-shared", "-fPIC", f'-DMARKER="{marker}"', "-o", str(library), str(source)]
    subprocess.run(command, check=True, env={"PATH": os.environ["PATH"]})
    yield Trap(library.read_bytes(), marker)
    assert not marker.exists()
