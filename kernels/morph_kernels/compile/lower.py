"""Lowers one captured graph to one shared library."""

import contextlib
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from morph_kernels.compile.convention import returned
from morph_kernels.compile.errors import CompileError


def lower_forward(
    graph_module: torch.fx.GraphModule, inputs: list[Any], settings: dict[str, Any], folder: Path
) -> Path:
    """Compile a forward graph; return the library's path.

    Every output counts as the user's: a saved activation then keeps the strides that the backward was traced with.
    """
    from torch._inductor.compile_fx import compile_fx_forward

    count = len(returned(graph_module))
    with _ahead_of_time(settings, folder) as context:
        result = compile_fx_forward(
            graph_module,
            inputs,
            num_orig_model_outputs=count,
            num_example_inputs=len(inputs),
            is_inference=False,
            **context,
        )
    return _library_of(result)


def lower_backward(
    graph_module: torch.fx.GraphModule, inputs: list[Any], settings: dict[str, Any], folder: Path
) -> Path:
    """Compile a backward graph; return the library's path."""
    from torch._inductor.compile_fx import compile_fx_backward

    with _ahead_of_time(settings, folder) as context:
        result = compile_fx_backward(graph_module, inputs, **context)
    return _library_of(result)


@contextlib.contextmanager
def _ahead_of_time(settings: dict[str, Any], folder: Path) -> Iterator[dict[str, Any]]:
    """Enter Inductor's AOT mode with our settings, writing into one folder."""
    import torch._inductor.config as inductor_config
    from torch._inductor.compile_fx import compile_fx_inner, create_compiler_config_extra, get_cpp_wrapper_config
    from torch._inductor.virtualized import V

    with (
        inductor_config.patch({**settings, "aot_inductor.output_path": str(folder)}),
        V.set_aot_compilation(True),
        inductor_config.patch(get_cpp_wrapper_config()),
    ):
        yield {
            "compiler_config_extra": create_compiler_config_extra(inductor_config),
            "inner_compile": functools.partial(compile_fx_inner, cpp_wrapper=True),
        }


def _library_of(result: Any) -> Path:
    """Find the one shared library among what Inductor wrote, and strip it."""
    names = result.filename if isinstance(result.filename, list) else [result.filename]
    libraries = [Path(name) for name in names if isinstance(name, str) and name.endswith(".so")]
    if len(libraries) != 1:
        raise CompileError(f"expected one library from Inductor, found {len(libraries)}")
    stripped = libraries[0].with_suffix(".stripped.so")
    subprocess.run(["strip", "--strip-all", "-o", stripped, libraries[0]], check=True, timeout=60)  # noqa: S607 - binutils comes with g++
    return stripped
