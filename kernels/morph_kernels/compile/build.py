"""Builds one blueprint's pair of libraries in this process; the worker runs it inside the sandbox."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from morph_kernels.artifact.manifest import CallingConvention, InputRule, OutputRule, SavedRule
from morph_kernels.artifact.target import Target
from morph_kernels.blueprint import Blueprint, SymbolRange
from morph_kernels.compile.capture import Traced, trace
from morph_kernels.compile.convention import plan_gradients, plan_saved, plan_watched, returned
from morph_kernels.compile.errors import CompileError
from morph_kernels.compile.guards import plan_covered_ranges
from morph_kernels.compile.hints import plan_hints
from morph_kernels.compile.lower import lower_backward, lower_forward
from morph_kernels.compile.recipe import inductor_settings
from morph_kernels.compile.symints import drop_size_outputs, rebuild_size_inputs


@dataclass(frozen=True)
class Built:
    """What a build leaves: two stripped libraries, how to call them and how long each step took."""

    forward: Path
    backward: Path
    convention: CallingConvention
    trace_s: float
    forward_s: float
    backward_s: float


def build_libraries(blueprint: Blueprint, target: Target, *, pipeline: str, folder: Path) -> Built:
    """Trace, partition and compile a blueprint in training mode into `folder`.

    Raises:
        CompileError: the blueprint cannot be compiled; the message says why.
    """
    settings = inductor_settings(target, pipeline)
    ranges = {name: SymbolRange(low, high) for name, (low, high) in target.ranges.items()}
    module = blueprint.build(seed=0).train()
    stage = _Stages(settings, folder)
    started = time.monotonic()
    with trace(module, blueprint.interface, ranges) as traced:
        stage.user_outputs = len(traced.metadata.output_info)
        trace_s = time.monotonic() - started
        traced.compile_with(stage.forward, stage.backward)
        covered = plan_covered_ranges(
            [guard.expr for guard in traced.shape_environment.guards],
            traced.symbols,
            ranges,
            plan_hints(blueprint.interface, ranges),
        )
        return Built(
            forward=stage.libraries["forward"],
            backward=stage.libraries["backward"],
            convention=_convention(blueprint, traced, stage, covered),
            trace_s=trace_s,
            forward_s=stage.seconds["forward"],
            backward_s=stage.seconds["backward"],
        )


class _Stages:
    """The two compilers that the partitioner calls, and what they found out on the way."""

    def __init__(self, settings: dict[str, Any], folder: Path) -> None:
        self.user_outputs = 0
        self.libraries: dict[str, Path] = {}
        self.seconds: dict[str, float] = {}
        self.saved: list[tuple[str, int]] = []
        self.watched: list[int] = []
        self.gradients: list[int] = []
        self.library_outputs = 0
        self.forward_inputs = 0
        self.tangents = 0
        self._settings, self._folder = settings, folder

    def forward(self, graph_module: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        started = time.monotonic()
        drop_size_outputs(graph_module)
        self.saved = plan_saved(graph_module, self.user_outputs)
        self.watched = plan_watched(graph_module)
        self.library_outputs = len(returned(graph_module))
        self.forward_inputs = len(inputs)
        self.libraries["forward"] = lower_forward(graph_module, inputs, self._settings, self._folder / "forward")
        self.seconds["forward"] = time.monotonic() - started
        return _never_called

    def backward(self, graph_module: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        started = time.monotonic()
        inputs = rebuild_size_inputs(graph_module, inputs)
        self.gradients = plan_gradients(graph_module)
        self.tangents = len(inputs) - len(self.saved)
        self.libraries["backward"] = lower_backward(graph_module, inputs, self._settings, self._folder / "backward")
        self.seconds["backward"] = time.monotonic() - started
        return _never_called


def _never_called(*_: object) -> Any:
    raise CompileError("the traced module was called during its own compilation")


def _convention(
    blueprint: Blueprint, traced: Traced, stage: _Stages, covered: Mapping[str, SymbolRange]
) -> CallingConvention:
    interface, metadata = blueprint.interface, traced.metadata
    tensors = (*traced.parameters, *traced.buffers, *(spec.name for spec in interface.inputs))
    differentiable = [bool(info.requires_grad) for info in metadata.output_info]
    if stage.forward_inputs != len(tensors) or stage.tangents != sum(differentiable):
        raise CompileError(
            f"the graphs take {stage.forward_inputs} tensors and {stage.tangents} tangents, "
            f"the module has {len(tensors)} and {sum(differentiable)}"
        )
    return CallingConvention(
        parameters=traced.parameters,
        buffers=traced.buffers,
        inputs=tuple(InputRule(spec.name, spec.dtype, spec.shape) for spec in interface.inputs),
        outputs=tuple(
            OutputRule(spec.dtype, spec.shape, requires_grad)
            for spec, requires_grad in zip(interface.outputs, differentiable, strict=True)
        ),
        mutated_buffers=tuple(
            tensors[position] for position, info in enumerate(metadata.input_info) if info.mutates_data
        ),
        forward_outputs=stage.library_outputs,
        saved=tuple(SavedRule(source, index) for source, index in stage.saved),
        watched=tuple(stage.watched),
        gradients=tuple(stage.gradients),
        ranges={name: (r.min, r.max) for name, r in covered.items()},
    )
