"""The thin half: what runs inside a training job, and nothing that would slow it down.

Here belong blueprints, verified artifacts, the loader and checkpoints; not Dagster, pandas or a database schema.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from morph_kernels.blueprint import Blueprint as Blueprint
    from morph_kernels.loader import KernelLoader as KernelLoader

__all__ = ["Blueprint", "KernelLoader"]

_HOMES = {"Blueprint": "morph_kernels.blueprint", "KernelLoader": "morph_kernels.loader"}


def __getattr__(name: str) -> object:
    """Import the public names on first use, so that reading a small module never imports torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
