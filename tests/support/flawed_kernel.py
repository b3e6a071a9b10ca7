"""A kernel built without the settings that make kernels right, as a compiler of bad will or bad luck would."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from morph_kernels.artifact.bundle import KernelBundle, decode_bundle, encode_bundle
from morph_kernels.artifact.manifest import Library, parse_manifest
from morph_kernels.blueprint import Blueprint
from morph_kernels.canonical import sha256_hex
from morph_kernels.compile import builder, headers
from morph_kernels.compile.builder import plan_build
from morph_kernels.compile.sandbox import Confinement, Limits, run_sandboxed
from morph_kernels.identity import BlobDigest

# Draws random numbers, sums over everything, and has products that a backward would like to reuse.
DELICATE = Blueprint.from_yaml("""
name: delicate
symbols:
  batch: [1, 4096]
inputs:
  - {name: x, dtype: float32, shape: [batch, 8, 8]}
outputs:
  - {name: y, dtype: float32, shape: [batch, 8, 8], value: scaled}
nodes:
  - {id: up, op: linear, inputs: [x], attributes: {in_features: 8, out_features: 8}}
  - {id: turned, op: transpose, inputs: [up], attributes: {dim0: 1, dim1: 2}}
  - {id: act, op: tanh, inputs: [turned]}
  - {id: noise, op: dropout, inputs: [act], attributes: {p: 0.3}}
  - {id: product, op: matmul, inputs: [noise, up]}
  - {id: centre, op: mean, inputs: [up], attributes: {dims: [0, 1, 2], keepdim: true}}
  - {id: scaled, op: mul, inputs: [product, centre]}
""")
_CARELESS_WORKER = """
import inspect, sys
from morph_kernels.compile import capture, recipe
for module in (recipe, capture):
    source = inspect.getsource(module)
    for right in ('fallback_random=True', '"fallback_random": True', '"cpp.dynamic_threads": True'):
        source = source.replace(right, right.replace("True", "False"))
    exec(source.replace('"donated_buffer": False', '"donated_buffer": True'), module.__dict__)
from morph_kernels.compile import worker
sys.exit(worker.main())
"""


@pytest.fixture(scope="session")
def careless_bundle(kernel_cache: Path) -> KernelBundle:
    """`DELICATE` built with shared buffers, its own random numbers and arrays for the builder's threads."""
    plan = plan_build(DELICATE)
    stored = kernel_cache / f"{plan.key}.careless"
    if not stored.exists():
        folder = builder.prepare_headers(kernel_cache / "headers", plan)
        with tempfile.TemporaryDirectory() as name:
            inputs, outputs = Path(name, "in"), Path(name, "out")
            inputs.mkdir()
            outputs.mkdir()
            builder._write_request(plan, inputs)
            outcome = run_sandboxed(
                ["-c", _CARELESS_WORKER],
                inputs=inputs,
                outputs=outputs,
                limits=Limits(),
                confinement=Confinement(read_only={headers.SHARED: folder}),
            )
            built = builder._collect(plan, outputs, outcome)
        partial = stored.with_suffix(f".{os.getpid()}")
        partial.write_bytes(encode_bundle(built.bundle))
        partial.replace(stored)
    return decode_bundle(stored.read_bytes())


def with_libraries(bundle: KernelBundle, *, forward: bytes, backward: bytes) -> KernelBundle:
    """Put other libraries into a bundle, with a manifest whose digests fit them: only running them shows it."""
    libraries = {"forward": forward, "backward": backward}
    manifest = replace(
        parse_manifest(bundle.manifest),
        libraries=tuple(Library(role, BlobDigest(sha256_hex(data)), len(data)) for role, data in libraries.items()),
    )
    return KernelBundle(manifest.to_bytes(), libraries)
