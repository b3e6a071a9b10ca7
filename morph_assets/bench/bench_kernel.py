"""The kernel that the cache's benchmarks load: really compiled, once, kept in a folder between runs."""

import fcntl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from morph_kernels.artifact.bundle import KernelBundle, decode_bundle, encode_bundle
from morph_kernels.artifact.manifest import KernelManifest, parse_manifest
from morph_kernels.artifact.target import build_key
from morph_kernels.blueprint import Blueprint, library
from morph_kernels.compile.builder import apply_build, plan_build
from morph_kernels.durable_file import replace_file

BLUEPRINT: Final = "ffn_gelu"


@dataclass(frozen=True)
class BenchKernel:
    """A compiled kernel of a blueprint."""

    blueprint: Blueprint
    manifest: KernelManifest
    bundle: KernelBundle

    def renamed(self, number: int) -> "BenchKernel":
        """Return the same libraries as another kernel under another name: another entry everywhere."""
        blueprint = Blueprint.from_bytes(self.blueprint.to_bytes(), name=f"{self.blueprint.name}_{number}")
        target = replace(self.manifest.target, glibc=f"2.{number}")
        key = build_key(
            self.manifest.blueprint_digest,
            target,
            toolchain=self.manifest.toolchain,
            pipeline=self.manifest.pipeline,
            recipe_version=self.manifest.recipe_version,
        )
        manifest = replace(self.manifest, target=target, build_key=key)
        return BenchKernel(blueprint, manifest, replace(self.bundle, manifest=manifest.to_bytes()))


def build_bench_kernel(folder: Path, *, name: str = BLUEPRINT) -> BenchKernel:
    """Return a kernel of the library's blueprint, built at most once a toolchain: 15 to 60 seconds the first time.

    Raises:
        CompileError, SandboxError: it cannot be built here.
    """
    blueprint = next(shipped for shipped in library() if shipped.name == name)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    plan = plan_build(blueprint)
    stored = folder / f"{plan.key}.bundle"
    with stored.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stored.exists():
            built = apply_build(plan, headers_root=folder / "headers")
            replace_file(stored, encode_bundle(built.bundle))
    bundle = decode_bundle(stored.read_bytes())
    return BenchKernel(blueprint, parse_manifest(bundle.manifest), bundle)
