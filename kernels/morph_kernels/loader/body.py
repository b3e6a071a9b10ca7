"""A compiled body: two loaded libraries behind one autograd function, parameters passed in at every call."""

import fcntl
import os
import threading
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from morph_kernels.artifact.manifest import KernelManifest
from morph_kernels.cache.first_calls import Trial
from morph_kernels.cache.private_file import open_private_folder
from morph_kernels.errors import MorphError
from morph_kernels.identity import KernelDigest
from morph_kernels.loader.first_run import FirstRun

# A file, or its bytes where no disk takes them.
Library = Path | bytes
_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class BodyLoadError(MorphError):
    """The libraries are verified but this process cannot load them. The message is the dynamic linker's."""


class LibraryCapError(MorphError):
    """This process holds as many distinct kernels as it may; loaded libraries are never unmapped."""


class DoubleBackwardError(MorphError):
    """A gradient of a gradient was asked of a compiled body, which has only the first one."""

    def __init__(self, digest: KernelDigest) -> None:
        super().__init__(
            f"kernel {digest[:12]} has no second derivative: its backward ran with create_graph=True; "
            "call `kernel.use_eager()` on the modules that need one"
        )


class BatchedBackwardError(MorphError):
    """Many gradients at once were asked of a compiled body, which computes one at a time."""

    def __init__(self, digest: KernelDigest) -> None:
        super().__init__(
            f"kernel {digest[:12]} computes one gradient at a time: its backward ran with is_grads_batched=True, "
            "as jacobian(vectorize=True) does; call `kernel.use_eager()` on the modules that need many"
        )


class CompiledBody:
    """The forward and backward libraries of one verified kernel, loaded into this process.

    A library is never unmapped, so a body lives as long as the process; the loader keeps one for each digest.
    """

    def __init__(
        self, manifest: KernelManifest, *, forward: Library, backward: Library, trial: Trial | None = None
    ) -> None:
        """Load two libraries whose digests were checked: from files named by content, or from memory.

        The dynamic linker tells libraries apart by path alone: a path that is ever used again for other bytes would
        silently return the first ones. And it follows the path: so it is given the folder's descriptor, which stays
        the same folder whatever another user, who may write somewhere above it, puts into its place.

        Raises:
            BodyLoadError: the linker refuses one of them, its path does not carry its digest, or its folder is not
                this user's alone.
        """
        for library in manifest.libraries:
            given = forward if library.role == "forward" else backward
            if isinstance(given, Path) and library.digest not in given.name:
                raise BodyLoadError(f"{given.name} is not named by its content, so it may stand for other bytes")
        self.digest = manifest.digest
        self.blueprint_digest = manifest.blueprint_digest
        self.convention = manifest.convention
        if trial is None:
            self._forward, self._backward = _open_runner(forward), _open_runner(backward)
        else:
            # What a library does as it is loaded is its own code too.
            runners = trial.run(lambda: (_open_runner(forward), _open_runner(backward)))
            self._forward = FirstRun(runners[0], trial, "forward", step_aside=partial(setattr, self, "_forward"))
            self._backward = FirstRun(runners[1], trial, "backward", step_aside=partial(setattr, self, "_backward"))
        self._users = len(self.convention.outputs)
        positions = {name: i for i, name in enumerate((*self.convention.parameters, *self.convention.buffers))}
        self._mutated = tuple(positions[name] for name in self.convention.mutated_buffers)
        self._differentiable = tuple(i for i, rule in enumerate(self.convention.outputs) if rule.requires_grad)
        self._constant = tuple(i for i, rule in enumerate(self.convention.outputs) if not rule.requires_grad)

    def __call__(self, tensors: Sequence[torch.Tensor]) -> Any:
        """Run on parameters, buffers and inputs in the convention's order; return an output or a tuple of them."""
        outputs = _Call.apply(self, *tensors)  # type: ignore[no-untyped-call]  # torch's own
        return outputs[0] if self._users == 1 else outputs

    def run_forward(self, ctx: Any, tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """Run the forward library and keep what the backward needs."""
        made = self._forward.run(list(tensors))
        outputs = tuple(made[: self._users])
        sources = {"input": tensors, "output": outputs, "library": made}
        ctx.save_for_backward(*(sources[rule.source][rule.index] for rule in self.convention.saved))
        # A saved view of a parameter is no tensor that autograd watches, so we do.
        ctx.watched = tuple((tensors[i], tensors[i]._version) for i in self.convention.watched)  # noqa: SLF001 - no other way
        if self._mutated:
            changed = tuple(tensors[i] for i in self._mutated)
            torch._C._autograd._unsafe_set_version_counter(  # noqa: SLF001 - the library wrote behind autograd's back
                changed,
                tuple(tensor._version + 1 for tensor in changed),  # noqa: SLF001 - the same
            )
        if self._constant:
            ctx.mark_non_differentiable(*(outputs[i] for i in self._constant))
        return outputs

    def run_backward(self, ctx: Any, tangents: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor | None, ...]:
        """Run the backward library; return a gradient or None for every position."""
        if torch.is_grad_enabled():
            raise DoubleBackwardError(self.digest)
        if any(map(torch._C._functorch.is_legacy_batchedtensor, tangents)):  # noqa: SLF001 - torch has no public way to ask
            raise BatchedBackwardError(self.digest)
        for tensor, version in ctx.watched:
            if tensor._version != version:  # noqa: SLF001 - see run_forward
                raise RuntimeError(
                    "a parameter needed for gradient computation has been modified by an inplace operation: "
                    f"shape {list(tensor.shape)}, version {tensor._version}, expected {version}"  # noqa: SLF001 - see run_forward
                )
        arguments = [*ctx.saved_tensors, *(tangents[i].resolve_neg().contiguous() for i in self._differentiable)]
        gradients: list[torch.Tensor | None] = [None] * self.convention.positions
        for position, gradient in zip(self.convention.gradients, self._backward.run(arguments), strict=True):
            gradients[position] = gradient
        return tuple(gradients)

    def __deepcopy__(self, memo: dict[int, Any]) -> "CompiledBody":
        """Share it: a body has no state of its own, and loaded libraries cannot be copied."""
        return self

    def __reduce__(self) -> Any:
        """Refuse: loaded libraries do not travel; pickle the kernel module, which carries the digest."""
        raise TypeError("a compiled body cannot be pickled; pickle the kernel module instead")


class _Call(torch.autograd.Function):
    """One call of a compiled body in the autograd graph."""

    @staticmethod
    def forward(ctx: Any, body: CompiledBody, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        ctx.body = body
        return body.run_forward(ctx, tensors)

    @staticmethod
    def backward(ctx: Any, *tangents: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        return (None, *ctx.body.run_backward(ctx, tangents))


_loaded: dict[KernelDigest, CompiledBody] = {}
_loading = threading.Lock()


def find_body(digest: KernelDigest) -> CompiledBody | None:
    """Return the body of a kernel that this process has loaded already, or None."""
    return _loaded.get(digest)


def loaded_digests() -> frozenset[KernelDigest]:
    """Return the kernels that this process has loaded."""
    with _loading:
        return frozenset(_loaded)


def open_body(
    manifest: KernelManifest, *, forward: Library, backward: Library, cap: int, trial: Trial | None = None
) -> CompiledBody:
    """Return the one body of a verified kernel in this process, loading it on first use.

    Its first calls are made through the trial, where there is one.

    Raises:
        LibraryCapError: `cap` other kernels are loaded already.
        BodyLoadError: the linker refuses a library.
    """
    with _loading:
        body = _loaded.get(manifest.digest)
        if body is None:
            if len(_loaded) >= cap:
                raise LibraryCapError(f"{len(_loaded)} kernels are loaded and MORPH_LIBRARY_CAP is {cap}")
            body = _loaded[manifest.digest] = CompiledBody(manifest, forward=forward, backward=backward, trial=trial)
        return body


def _open_runner(library: Library) -> Any:
    name = library.name if isinstance(library, Path) else "a library in memory"
    try:
        # The descriptor stays open for as long as the library is loaded, which is always.
        descriptor = open_private_folder(library.parent) if isinstance(library, Path) else _sealed(library)
    except OSError as error:
        raise BodyLoadError(f"cannot load {name}: {error}") from error
    place = f"/proc/self/fd/{descriptor}" + (f"/{name}" if isinstance(library, Path) else "")
    try:
        return torch._C._aoti.AOTIModelContainerRunnerCpu(place, 1)  # noqa: SLF001 - the public one imports the compiler
    except RuntimeError as error:
        os.close(descriptor)
        raise BodyLoadError(f"cannot load {name}: {str(error).splitlines()[0]}") from error


def _sealed(library: bytes) -> int:
    """Return the descriptor of a file in memory that nobody can change any more."""
    descriptor = os.memfd_create("morph-library", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        left = memoryview(library)
        while left:
            left = left[os.write(descriptor, left) :]
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
