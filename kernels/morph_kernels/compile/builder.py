"""The trusted side of a build: prepares the sandbox, and turns what comes out of it into a manifest and a bundle."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.manifest import (
    MAX_LIBRARY_BYTES,
    CallingConvention,
    KernelManifest,
    Library,
    LibraryRole,
)
from morph_kernels.artifact.target import Target, build_key, current_runtime
from morph_kernels.blueprint import Blueprint
from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.compile import headers, worker
from morph_kernels.compile.errors import CompileError
from morph_kernels.compile.recipe import RECIPE_VERSION, STANDARD_ISA, toolchain
from morph_kernels.compile.result import read_file, read_result, read_seconds
from morph_kernels.compile.sandbox import Confinement, Limits, Outcome, run_sandboxed
from morph_kernels.identity import BlobDigest, BuildKey

_MOST_WORDS = 2000
_ROLES: tuple[LibraryRole, ...] = ("forward", "backward")
# Uses both kinds of generated code, a library call and a vectorised loop: so both headers get precompiled.
_SMALLEST = """
name: headers
symbols:
  batch: [1, 64]
inputs:
  - {name: x, dtype: float32, shape: [batch, 8]}
outputs:
  - {name: y, dtype: float32, shape: [batch, 8], value: act}
nodes:
  - {id: up, op: linear, inputs: [x], attributes: {in_features: 8, out_features: 8}}
  - {id: act, op: gelu, inputs: [up]}
"""


@dataclass(frozen=True)
class BuildPlan:
    """Everything that decides a build, before it runs: equal keys mean the same build."""

    blueprint: Blueprint
    target: Target
    pipeline: str
    toolchain: str

    @property
    def key(self) -> BuildKey:
        """The build key that leases, memoisation and requests use."""
        return build_key(
            self.blueprint.digest,
            self.target,
            toolchain=self.toolchain,
            pipeline=self.pipeline,
            recipe_version=RECIPE_VERSION,
        )


@dataclass(frozen=True)
class BuiltKernel:
    """A kernel as built, not yet signed or judged. What it cost in CPU seconds is the sandbox's own word."""

    manifest: KernelManifest
    bundle: KernelBundle
    wall_s: float
    cpu_s: float
    log: str


def plan_target(blueprint: Blueprint, *, isa: str = STANDARD_ISA) -> Target:
    """Return the target of a training kernel for the processor: the interface's ranges, this machine's libraries."""
    runtime = current_runtime()
    return Target(
        device="cpu",
        isa=isa,
        dtype="float32",
        mode="train",
        ranges={name: (r.min, r.max) for name, r in blueprint.interface.symbols.items()},
        torch=runtime.torch,
        glibc=runtime.glibc,
        libstdcxx=runtime.libstdcxx,
    )


def plan_build(blueprint: Blueprint, *, target: Target | None = None, pipeline: str = "standard") -> BuildPlan:
    """Return the build of a blueprint for this machine's toolchain."""
    return BuildPlan(blueprint, target or plan_target(blueprint), pipeline, toolchain())


def apply_build(plan: BuildPlan, *, headers_root: Path | None = None, limits: Limits | None = None) -> BuiltKernel:
    """Build a kernel in the sandbox; every digest and every size is taken here, outside it.

    With `headers_root`, precompiled headers are kept and shared there; the first build of a toolchain makes them.

    Raises:
        CompileError: the blueprint cannot be compiled.
        SandboxError: a limit was reached, or the child died or wrote something that is no result.
        MalformedError: the child's calling convention is none.
    """
    limits = limits or Limits()
    if headers_root is None:
        return _run_build(plan, Confinement(), limits)
    folder = prepare_headers(headers_root, plan, limits=limits)
    return _run_build(plan, Confinement(read_only={headers.SHARED: folder}), limits)


def prepare_headers(root: Path, plan: BuildPlan, *, limits: Limits | None = None) -> Path:
    """Return the folder of precompiled headers for a plan's toolchain, making it where there is none yet.

    Raises:
        SandboxError: the build that makes them failed.
    """
    folder = headers.headers_folder(root, toolchain=plan.toolchain, isa=plan.target.isa, pipeline=plan.pipeline)
    if folder.is_dir():
        return folder
    with headers.HeadersLock(folder):
        if not folder.is_dir():
            smallest = Blueprint.from_yaml(_SMALLEST)
            own = BuildPlan(smallest, plan_target(smallest, isa=plan.target.isa), plan.pipeline, plan.toolchain)
            confinement = Confinement(environment={worker.KEEP_HEADERS: "1"})
            _run_build(own, confinement, limits or Limits(), headers_folder=folder)
    return folder


def _run_build(
    plan: BuildPlan, confinement: Confinement, limits: Limits, *, headers_folder: Path | None = None
) -> BuiltKernel:
    with tempfile.TemporaryDirectory(prefix="morph-build-") as folder:
        inputs, outputs = Path(folder, "in"), Path(folder, "out")
        inputs.mkdir()
        outputs.mkdir()
        _write_request(plan, inputs)
        outcome = run_sandboxed(
            ["-m", worker.__name__], inputs=inputs, outputs=outputs, limits=limits, confinement=confinement
        )
        built = _collect(plan, outputs, outcome)
        if headers_folder is not None:
            headers.keep_headers(outputs / headers.WRITTEN.name, headers_folder)
        return built


def _write_request(plan: BuildPlan, inputs: Path) -> None:
    request = {"name": plan.blueprint.name, "pipeline": plan.pipeline, "target": plan.target.to_document()}
    (inputs / worker.REQUEST).write_bytes(canonical_bytes(request))
    (inputs / worker.BLUEPRINT).write_bytes(plan.blueprint.to_bytes())


def _collect(plan: BuildPlan, outputs: Path, outcome: Outcome) -> BuiltKernel:
    result = read_result(outputs / worker.RESULT, outcome)
    if "refused" in result:
        raise CompileError(f"{plan.blueprint.name}: {str(result['refused'])[:_MOST_WORDS]}")
    libraries = {role: read_file(outputs / f"{role}.so", MAX_LIBRARY_BYTES) for role in _ROLES}
    manifest = KernelManifest(
        blueprint_digest=plan.blueprint.digest,
        build_key=plan.key,
        target=plan.target,
        toolchain=plan.toolchain,
        pipeline=plan.pipeline,
        recipe_version=RECIPE_VERSION,
        convention=CallingConvention.from_document(result.get("convention")),
        libraries=tuple(Library(role, BlobDigest(sha256_hex(data)), len(data)) for role, data in libraries.items()),
    )
    bundle = KernelBundle(manifest=manifest.to_bytes(), libraries=libraries)
    return BuiltKernel(manifest, bundle, outcome.wall_s, read_seconds(result, "cpu_s"), outcome.log)
