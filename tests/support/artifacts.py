"""Kernels on paper for tests: real manifests and bundles around library bytes that nobody runs."""

from dataclasses import replace

from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.manifest import (
    CallingConvention,
    InputRule,
    KernelManifest,
    Library,
    OutputRule,
    SavedRule,
)
from morph_kernels.artifact.target import Runtime, Target, build_key
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import BlobDigest, BlueprintDigest

FORWARD = b"\x7fELF forward " * 400
BACKWARD = b"\x7fELF backward" * 700

RUNTIME = Runtime(device="cpu", isa="x86-64-v4", torch="2.13.0", glibc="2.36", libstdcxx="3.4.30")
TARGET = Target(
    device="cpu",
    isa="x86-64-v3",
    dtype="float32",
    mode="train",
    ranges={"batch": (1, 4096)},
    torch="2.13.0",
    glibc="2.29",
    libstdcxx="3.4.26",
)
CONVENTION = CallingConvention(
    parameters=("up.weight", "up.bias"),
    buffers=("norm.running_mean",),
    inputs=(InputRule("x", "float32", ("batch", 64)),),
    outputs=(OutputRule("float32", ("batch", 64), requires_grad=True),),
    mutated_buffers=("norm.running_mean",),
    forward_outputs=4,
    saved=(SavedRule("input", 3), SavedRule("output", 0), SavedRule("library", 1)),
    watched=(0,),
    gradients=(0, 1, 3),
    ranges={"batch": (1, 4096)},
)


def make_manifest(
    *, target: Target = TARGET, forward: bytes = FORWARD, backward: bytes = BACKWARD, blueprint: str = "a" * 64
) -> KernelManifest:
    """Return the manifest of a kernel with these libraries."""
    digest = BlueprintDigest(blueprint)
    return KernelManifest(
        blueprint_digest=digest,
        build_key=build_key(digest, target, toolchain="g++ 12.2.0", pipeline="standard", recipe_version=1),
        target=target,
        toolchain="g++ 12.2.0",
        pipeline="standard",
        recipe_version=1,
        convention=CONVENTION,
        libraries=(
            Library("forward", BlobDigest(sha256_hex(forward)), len(forward)),
            Library("backward", BlobDigest(sha256_hex(backward)), len(backward)),
        ),
    )


def make_bundle(manifest: KernelManifest | None = None) -> KernelBundle:
    """Return a bundle of the manifest and the two usual libraries."""
    manifest = manifest or make_manifest()
    return KernelBundle(manifest.to_bytes(), {"forward": FORWARD, "backward": BACKWARD})


def with_target(**changes: object) -> Target:
    """Return the usual target with some fields changed."""
    return replace(TARGET, **changes)  # type: ignore[arg-type]  # tests also make targets that are wrong on purpose
