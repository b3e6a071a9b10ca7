"""How libraries are generated: the settings that make a kernel right on any machine that fits its target.

Each setting answers a silent fault that was seen without it; `docs/invariants.md` names the test of each.
"""

import subprocess
from typing import Any, Final

from morph_kernels.artifact.target import Target
from morph_kernels.compile.errors import CompileError

RECIPE_VERSION: Final = 1
"""Raise it whenever generated code changes: it is part of the build key."""

STANDARD_ISA: Final = "x86-64-v3"
"""What kernels are built for unless somebody says otherwise: every x86-64 server of the last ten years."""

PIPELINES: Final = ("fast", "standard", "aggressive")

# Vector width in bits by instruction-set level. Wider code dies with SIGILL on a machine that lacks it.
_SIMD_BITS: Final = {"x86-64-v3": 256, "x86-64-v4": 512}


def inductor_settings(target: Target, pipeline: str) -> dict[str, Any]:
    """Return the Inductor settings for a target.

    Raises:
        CompileError: no recipe for this device, instruction set or pipeline.
    """
    if target.device != "cpu" or target.isa not in _SIMD_BITS:
        raise CompileError(
            f"no recipe for device {target.device!r} with {target.isa!r}; known: cpu, {sorted(_SIMD_BITS)}"
        )
    if pipeline not in PIPELINES:
        raise CompileError(f"no pipeline {pipeline!r}; known: {', '.join(PIPELINES)}")
    return {
        "cpp_wrapper": True,
        "aot_inductor.package": True,
        "aot_inductor.debug_symbols": False,
        "aot_inductor.enable_line_tables": False,
        "aot_inductor.compile_wrapper_opt_level": "O0" if pipeline == "fast" else "O1",
        # A foreign instruction set loads without complaint and dies at the first call.
        "cpp.march": target.isa,
        "cpp.simdlen": _SIMD_BITS[target.isa],
        "cpp.vec_isa_ok": True,
        # Otherwise reductions allocate for the builder's thread count and more threads overrun the stack.
        "cpp.dynamic_threads": True,
        # Dropout masks and the generator's state afterwards equal eager's.
        "fallback_random": True,
        "max_autotune": pipeline == "aggressive",
        "epilogue_fusion": True,
    }


def functorch_settings() -> dict[str, Any]:
    """Return the AOTAutograd settings that every trace runs under."""
    return {
        "unlift_effect_tokens": True,
        # Otherwise the backward overwrites its own inputs, even the caller's tangent.
        "donated_buffer": False,
    }


def toolchain() -> str:
    """Name the toolchain of this machine: what generates the code and what compiles it.

    Raises:
        CompileError: no C++ compiler is installed.
    """
    from importlib.metadata import version

    try:
        compiler = subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True, check=True, timeout=10)  # noqa: S607 - found on PATH, as the build will find it
    except (OSError, subprocess.SubprocessError) as error:
        raise CompileError("g++ does not run here; install it (Debian: apt-get install g++)") from error
    return f"torch-{version('torch').split('+')[0]} g++-{compiler.stdout.strip()}"
