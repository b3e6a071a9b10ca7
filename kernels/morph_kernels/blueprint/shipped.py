"""The blueprints that come with the distribution."""

from pathlib import Path
from typing import Final

from morph_kernels.blueprint.blueprint import Blueprint

_FOLDER: Final = Path(__file__).parent / "library"


def library_paths() -> tuple[Path, ...]:
    """Return the shipped yaml files, sorted by name."""
    return tuple(sorted(_FOLDER.glob("*.yaml")))


def library() -> tuple[Blueprint, ...]:
    """Return the shipped blueprints, sorted by name."""
    return tuple(Blueprint.from_yaml(path) for path in library_paths())
