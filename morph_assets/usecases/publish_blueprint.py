"""The whole way of a kernel in one call: submit, compile, evaluate, publish."""

from pathlib import Path

from morph_assets.connections import Connections
from morph_assets.usecases.compile_kernel import compile_kernel
from morph_assets.usecases.evaluate_kernel import EvaluatedKernel, evaluate_kernel
from morph_assets.usecases.publish_kernel import PublishedKernel, publish_kernel
from morph_assets.usecases.submit_blueprint import submit_blueprint
from morph_kernels.blueprint import Blueprint
from morph_kernels.errors import MorphError


class KernelRejectedError(MorphError):
    """The evaluator found the kernel wrong; `evaluation` is what it found."""

    def __init__(self, name: str, evaluation: EvaluatedKernel) -> None:
        super().__init__(f"the kernel of {name} was rejected: {'; '.join(evaluation.reasons[:3])}")
        self.evaluation = evaluation


def publish_blueprint(
    connections: Connections, source: Blueprint | Path | str, *, alias: str = "production"
) -> PublishedKernel:
    """Return the published release of the blueprint; every step that was done before is not done again.

    Raises:
        KernelRejectedError: the evaluator found the kernel wrong; the report is kept.
        BlueprintError: the design is refused.
        CompileError: it cannot be compiled.
    """
    release = submit_blueprint(connections, source)
    compiled = compile_kernel(connections, release.name, version=release.version)
    evaluation = evaluate_kernel(connections, compiled.digest)
    if evaluation.verdict == "failed":
        raise KernelRejectedError(release.name, evaluation)
    return publish_kernel(connections, release.name, alias=alias, version=release.version)
