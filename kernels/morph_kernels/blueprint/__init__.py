"""A module's design as immutable data: the IR, its rules, its digest, and how to build a module from it.

Not here: anything compiled, signed or stored. Only `build` and `from_module` import torch, and only when called.
"""

from morph_kernels.imports import uncollected

with uncollected():
    from morph_kernels.blueprint.blueprint import Blueprint
    from morph_kernels.blueprint.errors import (
        BlueprintError,
        BlueprintMalformedError,
        BlueprintRuleError,
        BlueprintShapeError,
        BlueprintTooLargeError,
        UnsupportedModuleError,
    )
    from morph_kernels.blueprint.graph import Graph, Node
    from morph_kernels.blueprint.interface import Interface, SymbolRange, TensorSpec
    from morph_kernels.blueprint.shipped import library, library_paths

__all__ = [
    "Blueprint",
    "BlueprintError",
    "BlueprintMalformedError",
    "BlueprintRuleError",
    "BlueprintShapeError",
    "BlueprintTooLargeError",
    "Graph",
    "Interface",
    "Node",
    "SymbolRange",
    "TensorSpec",
    "UnsupportedModuleError",
    "library",
    "library_paths",
]
