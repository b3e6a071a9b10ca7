"""The platform: registry, use cases, Dagster definitions and the command line.

What runs inside a training job lives in `morph_kernels` instead.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from morph_assets.platform import Platform as Platform

__all__ = ["Platform"]


def __getattr__(name: str) -> object:
    """Import the public face on first use: the command line and Dagster import this package often and early."""
    if name != "Platform":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from morph_assets.platform import Platform

    return Platform
