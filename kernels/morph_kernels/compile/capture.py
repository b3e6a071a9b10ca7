"""Captures a module's forward and backward as one joint graph with symbolic sizes.

One trace serves both libraries, so that what the forward saves is exactly what the backward expects.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sympy
import torch
from torch import nn

from morph_kernels.blueprint import Interface, SymbolRange
from morph_kernels.compile.errors import CompileError
from morph_kernels.compile.hints import plan_hints
from morph_kernels.compile.recipe import functorch_settings

GraphCompiler = Callable[[torch.fx.GraphModule, list[Any]], Any]


@dataclass(frozen=True)
class Traced:
    """A joint graph inside its tracing contexts: `compile_with` must be called before they close."""

    metadata: Any
    parameters: tuple[str, ...]
    buffers: tuple[str, ...]
    shape_environment: Any
    symbols: Mapping[sympy.Symbol, str]
    compile_with: Callable[[GraphCompiler, GraphCompiler], None]


@contextlib.contextmanager
def trace(module: nn.Module, interface: Interface, ranges: Mapping[str, SymbolRange]) -> Iterator[Traced]:
    """Trace a module in training mode over fake inputs whose sizes are the interface's symbols.

    Raises:
        CompileError: the module aliases or changes its inputs, or does something that has no symbolic form.
    """
    from torch._functorch.aot_autograd import aot_compile_joint_with_descriptors, aot_export_joint_with_descriptors
    from torch._inductor.compile_fx import partition_fn
    from torch._inductor.decomposition import select_decomp_table
    from torch._inductor.virtualized import V
    from torch._subclasses import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    # Sizes may be 0, 1 or more until a guard says otherwise; broadcasting does not ask whether a size is 1.
    environment = ShapeEnv(specialize_zero_one=False)
    fake_mode = FakeTensorMode(shape_env=environment, allow_non_fake_inputs=True)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_trace_settings())
        inputs, symbols = _fake_inputs(fake_mode, interface, ranges)
        stack.enter_context(V.set_fake_mode(fake_mode))
        joint = aot_export_joint_with_descriptors(
            stack, module, inputs, decompositions=select_decomp_table(), keep_inference_input_mutations=True
        )
        metadata = joint._aot_state.fw_metadata  # noqa: SLF001 - the descriptors do not carry output aliasing
        _refuse_aliases(metadata, count=len(inputs))

        def compile_with(forward: GraphCompiler, backward: GraphCompiler) -> None:
            with torch._guards.tracing(torch._guards.TracingContext(fake_mode)):  # noqa: SLF001 - Inductor reads it
                torch._guards.TracingContext.get().fw_metadata = metadata  # noqa: SLF001 - the same
                aot_compile_joint_with_descriptors(
                    joint, partition_fn=partition_fn, fw_compiler=forward, bw_compiler=backward
                )

        yield Traced(
            metadata=metadata,
            parameters=tuple(joint.params_spec),
            buffers=tuple(joint.buffers_spec),
            shape_environment=environment,
            symbols=symbols,
            compile_with=compile_with,
        )


@contextlib.contextmanager
def _trace_settings() -> Iterator[None]:
    """Have torch trace what eager computes, and put no guard on a size."""
    import torch._functorch.config as functorch_config
    import torch._inductor.config as inductor_config
    import torch.fx.experimental._config as symbolic_config

    with contextlib.ExitStack() as stack:
        stack.enter_context(symbolic_config.patch(backed_size_oblivious=True))
        stack.enter_context(functorch_config.patch(**functorch_settings()))
        # Around the whole trace, not only the lowering: the masks and the generator's state afterwards equal eager's.
        stack.enter_context(inductor_config.patch(fallback_random=True))
        # The choice of a convolution's library depends on the batch size and would put a guard on it. The generated
        # code calls the operator, which chooses again at every call.
        stack.enter_context(torch.backends.nnpack.flags(enabled=False))
        stack.callback(torch._C._set_mkldnn_enabled, torch._C._get_mkldnn_enabled())  # noqa: SLF001 - the public switch warns
        torch._C._set_mkldnn_enabled(False)  # noqa: SLF001 - the same
        yield


def _fake_inputs(
    fake_mode: Any, interface: Interface, ranges: Mapping[str, SymbolRange]
) -> tuple[tuple[torch.Tensor, ...], dict[sympy.Symbol, str]]:
    """Make fake inputs whose symbolic dimensions carry their declared ranges."""
    from torch._dynamo.source import ConstantSource
    from torch.fx.experimental.symbolic_shapes import DimDynamic, StatelessSymbolicContext, StrictMinMaxConstraint
    from torch.utils._sympy.value_ranges import ValueRanges

    hints = plan_hints(interface, ranges)
    fakes: list[torch.Tensor] = []
    symbols: dict[sympy.Symbol, str] = {}
    for index, (spec, example) in enumerate(zip(interface.inputs, interface.example_inputs(hints), strict=True)):
        if example.is_floating_point():
            example.requires_grad_(True)
        constraints = [
            StrictMinMaxConstraint(vr=ValueRanges(ranges[dim].min, ranges[dim].max), warn_only=False)
            if isinstance(dim, str)
            else None
            for dim in spec.shape
        ]
        context = StatelessSymbolicContext(
            dynamic_sizes=[DimDynamic.STATIC if isinstance(dim, int) else DimDynamic.DUCK for dim in spec.shape],
            constraint_sizes=constraints,
        )
        fake = fake_mode.from_tensor(example, symbolic_context=context, source=ConstantSource(f"input_{index}"))
        for dim, size in zip(spec.shape, fake.shape, strict=True):
            if isinstance(dim, str):
                symbols[size.node.expr] = dim
        fakes.append(fake)
    return tuple(fakes), symbols


def _refuse_aliases(metadata: Any, *, count: int) -> None:
    """Refuse what the calling convention cannot carry: changed inputs, and outputs that share memory with one."""
    from torch._functorch._aot_autograd.schemas import OutputType

    for position, info in enumerate(metadata.input_info[-count:]):
        if info.mutates_data or info.mutates_metadata:
            raise CompileError(f"the module changes its input {position} in place; return a new tensor instead")
    fresh = {OutputType.non_alias, OutputType.unsafe_view_alias, OutputType.custom_function_view}
    for position, info in enumerate(metadata.output_info):
        if info.output_type not in fresh:
            raise CompileError(f"output {position} is an input or shares its memory ({info.output_type.name}); copy it")
