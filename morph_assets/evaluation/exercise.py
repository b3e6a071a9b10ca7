"""Runs one sample through a module and records what came out; the same code for eager and compiled.

Inside the sandbox only. It judges nothing: what should be equal is recorded from both and compared by the parent.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from morph_assets.evaluation.exchange import Recording
from morph_assets.evaluation.samples import Sample
from morph_kernels.blueprint import Interface
from morph_kernels.blueprint.interface import keyed_seed

_SEED = 20260113
Named = dict[str, torch.Tensor]


@dataclass(frozen=True)
class _Step:
    """One forward and backward: what went in, what came out, and the gradients of the inputs."""

    inputs: Named
    outputs: Named
    tangents: Named
    gradients: Named
    # What the forward gave, by content, before the backward could change it.
    given: dict[str, str]


def record(module: nn.Module, interface: Interface, sample: Sample, dtype: torch.dtype) -> Recording:
    """Run a sample in training mode and return what it gave and left.

    Masks of dropout come out of the global generator. On the processor they do not depend on the dtype, so one seed
    gives float64 and float32 the same mask; the parent sees from the generator's state whether all drew alike.
    """
    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
    module.zero_grad(set_to_none=True)
    torch.manual_seed(_SEED)
    steps = [_run_step(module, interface, sample, dtype, number) for number in range(sample.steps)]
    gradients = {f"parameter_gradient.{name}": p.grad for name, p in parameters.items() if p.grad is not None}
    step = steps[-1]
    tensors = {f"output.{name}": value for name, value in step.outputs.items()}
    tensors |= {f"input_gradient.{name}": value for name, value in step.gradients.items()}
    tensors |= gradients | {f"buffer.{name}": value for name, value in buffers.items()}
    kept = {f"input.{name}": value for name, value in step.inputs.items()}
    kept |= {f"tangent.{name}": value for name, value in step.tangents.items()}
    kept |= {f"parameter.{name}": value for name, value in parameters.items()}
    digests = {name: _digest(value) for name, value in kept.items()} | {"generator": _digest(torch.get_rng_state())}
    claims = {
        "outputs_kept": [name for name, value in step.outputs.items() if step.given[name] != _digest(value)] == [],
        "sharing": _sharing({**gradients, **step.gradients}, kept),
    }
    return Recording({name: value.detach().numpy().copy() for name, value in tensors.items()}, digests, claims)


def record_backward_twice(module: nn.Module, interface: Interface, sample: Sample) -> tuple[str, str]:
    """Run one forward and its backward twice; return a digest of each pass's gradients."""
    inputs = make_inputs(interface, sample, torch.float32, 0)
    outputs = {name: value for name, value in _call(module, interface, inputs).items() if value.requires_grad}
    tangents = _tangents(outputs)
    leaves = [*(x for x in inputs.values() if x.requires_grad), *module.parameters()]
    passes = [
        torch.autograd.grad(
            list(outputs.values()), leaves, list(tangents.values()), retain_graph=True, allow_unused=True
        )
        for _ in range(2)
    ]
    first, second = ("".join(_digest(g) for g in gradients if g is not None) for gradients in passes)
    return first, second


def make_inputs(interface: Interface, sample: Sample, dtype: torch.dtype, number: int) -> Named:
    """Return the inputs of one step; those that can have a gradient are leaves that want one."""
    named: Named = {}
    symbols = {spec.name: spec for spec in interface.inputs}
    for name, value in zip(symbols, interface.example_inputs(sample.sizes, seed=number), strict=True):
        if not value.is_floating_point():
            named[name] = value
            continue
        generator = torch.Generator().manual_seed(keyed_seed(number, f"pattern:{name}"))
        named[name] = _patterned(value, sample.pattern, generator).to(dtype).requires_grad_()
    return named


def _patterned(value: torch.Tensor, pattern: str, generator: torch.Generator) -> torch.Tensor:
    if pattern == "mixed":
        magnitude = 10.0 ** torch.empty_like(value).uniform_(-6.0, 2.0, generator=generator)
        zero = torch.empty_like(value).uniform_(generator=generator) < 0.1  # noqa: PLR2004 - a tenth
        value = (value * magnitude).masked_fill(zero, 0.0)
        value.view(-1)[0] = -1e3
        value.view(-1)[-1] = 1e-30
    if pattern == "nonfinite":
        value.view(-1)[value.numel() // 2] = float("nan")
        value.view(-1)[-1] = float("inf")
    return value


def _run_step(module: nn.Module, interface: Interface, sample: Sample, dtype: torch.dtype, number: int) -> _Step:
    inputs = make_inputs(interface, sample, dtype, number)
    outputs = _call(module, interface, inputs)
    given = {name: _digest(value) for name, value in outputs.items()}
    flowing = {name: value for name, value in outputs.items() if value.requires_grad}
    tangents = _tangents(flowing)
    torch.autograd.backward(list(flowing.values()), list(tangents.values()))
    gradients = {name: x.grad for name, x in inputs.items() if x.grad is not None}
    return _Step(inputs, outputs, tangents, gradients, given)


def _call(module: nn.Module, interface: Interface, inputs: Mapping[str, torch.Tensor]) -> Named:
    found = module(*inputs.values())
    values: Sequence[torch.Tensor] = found if isinstance(found, tuple) else (found,)
    return {spec.name: value for spec, value in zip(interface.outputs, values, strict=True)}


def _tangents(outputs: Mapping[str, torch.Tensor]) -> Named:
    """Return what flows back: random, so that no error cancels; the same numbers in every dtype."""
    tangents: Named = {}
    for name, value in outputs.items():
        generator = torch.Generator().manual_seed(keyed_seed(_SEED, f"tangent:{name}"))
        tangents[name] = torch.randn(value.shape, generator=generator).to(value.dtype)
    return tangents


def _digest(tensor: torch.Tensor) -> str:
    return hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest()


def _sharing(gradients: Mapping[str, torch.Tensor], kept: Mapping[str, torch.Tensor]) -> list[str]:
    """Return the gradients whose memory another tensor uses as well."""
    owners: dict[int, str] = {value.untyped_storage().data_ptr(): name for name, value in kept.items()}
    shared = []
    for name, value in gradients.items():
        if owners.setdefault(value.untyped_storage().data_ptr(), name) != name:
            shared.append(name)
    return shared


def digest_of(recording: Recording) -> str:
    """Return one digest of everything in a recording that a second run must repeat bit for bit."""
    found: Any = hashlib.sha256()
    for name, value in recording.tensors.items():
        found.update(name.encode() + value.tobytes())
    found.update(repr(sorted(recording.digests.items())).encode())
    return str(found.hexdigest())
