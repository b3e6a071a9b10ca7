"""Looks a bundle over before any of it runs: is it whole, and does it say what its blueprint says."""

from collections.abc import Iterator

from morph_assets.evaluation.measured import Failure
from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.document import MalformedError
from morph_kernels.artifact.manifest import CallingConvention, KernelManifest, parse_manifest
from morph_kernels.blueprint import Blueprint
from morph_kernels.canonical import sha256_hex
from morph_kernels.reasons import Reason


def inspect_bundle(bundle: KernelBundle, blueprint: Blueprint) -> KernelManifest | Failure:
    """Return the manifest of a bundle that may be tried in the sandbox, or why it may not even be tried."""
    try:
        manifest = parse_manifest(bundle.manifest)
    except MalformedError as error:
        return Failure(Reason.MALFORMED, str(error))
    problem = next(_find_problems(manifest, bundle, blueprint), None)
    return problem or manifest


def _find_problems(manifest: KernelManifest, bundle: KernelBundle, blueprint: Blueprint) -> Iterator[Failure]:
    if manifest.blueprint_digest != blueprint.digest:
        yield Failure(Reason.WRONG_INTERFACE, f"the kernel is built from blueprint {manifest.blueprint_digest[:12]}")
    if {library.role for library in manifest.libraries} != {"forward", "backward"}:
        yield Failure(Reason.WRONG_INTERFACE, "a training kernel has a forward and a backward library")
    for library in manifest.libraries:
        data = bundle.libraries.get(library.role)
        # A truncated library kills the process that loads it.
        if data is None or len(data) != library.size_bytes or sha256_hex(data) != library.digest:
            yield Failure(Reason.DIGEST_MISMATCH, f"the {library.role} library is not the one in the manifest")
    yield from _find_contradictions(manifest.convention, blueprint)


def _find_contradictions(convention: CallingConvention, blueprint: Blueprint) -> Iterator[Failure]:
    interface = blueprint.interface
    said = [(rule.name, rule.dtype, rule.shape) for rule in convention.inputs]
    if said != [(spec.name, spec.dtype, spec.shape) for spec in interface.inputs]:
        yield Failure(Reason.WRONG_INTERFACE, "its inputs are not the blueprint's")
    given = [(rule.dtype, rule.shape) for rule in convention.outputs]
    if given != [(spec.dtype, spec.shape) for spec in interface.outputs]:
        yield Failure(Reason.WRONG_INTERFACE, "its outputs are not the blueprint's")
    state = {name for name, _ in (*blueprint.graph.parameters(), *blueprint.graph.buffers())}
    if {*convention.parameters, *convention.buffers} != state:
        yield Failure(Reason.WRONG_INTERFACE, "its parameters and buffers are not the blueprint's")
    if set(convention.ranges) != set(interface.symbols) or any(
        low not in interface.symbols[symbol] or high not in interface.symbols[symbol]
        for symbol, (low, high) in convention.ranges.items()
    ):
        yield Failure(Reason.WRONG_INTERFACE, "its covered sizes are not among the blueprint's")
