"""A kernel that is honestly built and signed, and computes something else than its blueprint says."""

from dataclasses import replace

from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.target import build_key
from morph_kernels.blueprint import Blueprint, library_paths
from tests.support.kernels import KernelBuilder, TestKernel


def make_wrong_kernel(build: KernelBuilder) -> TestKernel:
    """Return the libraries of a GELU block under the manifest of a ReLU block."""
    (path,) = [path for path in library_paths() if path.stem == "ffn_gelu"]
    text = path.read_text().replace("op: gelu", "op: relu").replace("name: ffn_gelu", "name: ffn_relu")
    blueprint, honest = Blueprint.from_yaml(text), build("ffn_gelu")
    key = build_key(
        blueprint.digest,
        honest.manifest.target,
        toolchain=honest.manifest.toolchain,
        pipeline=honest.manifest.pipeline,
        recipe_version=honest.manifest.recipe_version,
    )
    manifest = replace(honest.manifest, blueprint_digest=blueprint.digest, build_key=key)
    bundle = KernelBundle(manifest.to_bytes(), honest.bundle.libraries)
    return TestKernel(blueprint, manifest, bundle, honest.forward, honest.backward)
