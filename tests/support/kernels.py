"""Really compiled kernels, each built once in a test session and shared by every test that needs one.

`MORPH_TEST_CACHE` names a folder that keeps them between sessions: of one `make test`, or while one works on a test.
"""

import fcntl
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from morph_kernels.artifact.bundle import KernelBundle, decode_bundle, encode_bundle
from morph_kernels.artifact.manifest import KernelManifest, parse_manifest
from morph_kernels.blueprint import Blueprint, library
from morph_kernels.compile.builder import apply_build, plan_build
from morph_kernels.loader.body import CompiledBody, open_body
from morph_kernels.loader.module import KernelModule


@dataclass(frozen=True)
class TestKernel:
    """A compiled kernel and its libraries as files."""

    __test__ = False

    blueprint: Blueprint
    manifest: KernelManifest
    bundle: KernelBundle
    forward: Path
    backward: Path

    def body(self) -> CompiledBody:
        """Load it into this process."""
        return open_body(self.manifest, forward=self.forward, backward=self.backward, cap=1000)

    def module(self, seed: int = 0) -> KernelModule:
        """Return a module that runs it, in training mode."""
        module = KernelModule(self.blueprint, seed=seed)
        module.use_body(self.body(), "disk")
        return module.train()


KernelBuilder = Callable[[str | Blueprint], TestKernel]


def pytest_configure(config: pytest.Config) -> None:
    """Make the folder of this session's kernels, unless one is kept; parallel workers inherit its name."""
    if "MORPH_TEST_CACHE" not in os.environ:
        folder = tempfile.TemporaryDirectory(prefix="morph-kernels-")
        config.add_cleanup(folder.cleanup)
        config.add_cleanup(lambda: os.environ.pop("MORPH_TEST_CACHE"))
        os.environ["MORPH_TEST_CACHE"] = folder.name


@pytest.fixture(scope="session")
def kernel_cache() -> Path:
    """The folder of this session's kernels and precompiled headers."""
    folder = Path(os.environ["MORPH_TEST_CACHE"])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def compiled(kernel_cache: Path) -> KernelBuilder:
    """Build a blueprint, by object or by its name in the library, at most once."""
    shipped = {blueprint.name: blueprint for blueprint in library()}

    def build(wanted: str | Blueprint) -> TestKernel:
        blueprint = shipped[wanted] if isinstance(wanted, str) else wanted
        plan = plan_build(blueprint)
        stored = kernel_cache / f"{plan.key}.bundle"
        with stored.with_suffix(".lock").open("w") as lock:
            # Of several workers one builds, and the others take what it built.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not stored.exists():
                built = apply_build(plan, headers_root=kernel_cache / "headers")
                partial = stored.with_suffix(f".{os.getpid()}")
                partial.write_bytes(encode_bundle(built.bundle))
                partial.replace(stored)
        bundle = decode_bundle(stored.read_bytes(), max_bytes=64 * 1024**2)
        manifest = parse_manifest(bundle.manifest)
        return TestKernel(
            blueprint,
            manifest,
            bundle,
            forward=_write_library(kernel_cache, bundle.libraries["forward"], manifest.libraries[0].digest),
            backward=_write_library(kernel_cache, bundle.libraries["backward"], manifest.libraries[1].digest),
        )

    return build


def _write_library(folder: Path, content: bytes, digest: str) -> Path:
    path = folder / f"{digest}.so"
    if not path.exists():
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_bytes(content)
        partial.replace(path)
    return path
