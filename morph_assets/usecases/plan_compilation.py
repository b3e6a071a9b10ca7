"""What compiling a blueprint here would mean, without starting a compiler."""

from morph_assets.connections import Connections
from morph_kernels.blueprint import Blueprint
from morph_kernels.compile.builder import BuildPlan, plan_target
from morph_kernels.compile.toolchain_memory import recall_toolchain


def plan_compilation(connections: Connections, blueprint: Blueprint, *, pipeline: str = "standard") -> BuildPlan:
    """Return the build for this machine's toolchain, which is asked for its version only when it changed."""
    toolchain = recall_toolchain(connections.home / "toolchain.json")
    return BuildPlan(blueprint, plan_target(blueprint), pipeline, toolchain)
