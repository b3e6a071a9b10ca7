"""What a blueprint's module is made of: its submodules with their attributes, and its tensors' dtypes and shapes.

A compiled body computes what this layout says and looks at nothing else. A module that was changed since, in whatever
way eager would notice, has to run eager.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from morph_kernels.blueprint import Blueprint
from morph_kernels.identity import BlueprintDigest

# What every module has and a forward does not compute with; `training` is looked at.
_MACHINERY = frozenset(nn.Module().__dict__) - {"training"}
_REGISTRIES = ("_parameters", "_buffers")


@dataclass(frozen=True)
class Submodule:
    """One submodule: where it hangs, its class, and its attributes in training mode.

    Attributes:
        parent: place of its parent among the modules, the root being the first.
    """

    parent: int
    name: str
    kind: type[nn.Module]
    attributes: Mapping[str, Any]

    def is_like(self, module: nn.Module) -> bool:
        """Return whether a module has this class and these attributes, and hides nothing of its class."""
        own = vars(module)
        if type(module) is not self.kind or not self.attributes.keys() <= own.keys():
            return False
        if any(type(own[key]) is not type(value) or own[key] != value for key, value in self.attributes.items()):
            return False
        # What somebody noted down on it changes nothing.
        return not any(hasattr(self.kind, key) for key in own.keys() - self.attributes.keys() - _MACHINERY)


@dataclass(frozen=True)
class TensorPlace:
    """One entry of a registry of parameters or buffers; `spec` is None where it is left out, as a bias may be."""

    owner: int
    registry: str
    name: str
    spec: tuple[torch.dtype, torch.Size] | None

    def registry_in(self, modules: list[nn.Module]) -> dict[str, torch.Tensor | None]:
        """Return the registry that holds it."""
        found: dict[str, torch.Tensor | None] = getattr(modules[self.owner], self.registry)
        return found


@dataclass(frozen=True)
class Layout:
    """The submodules, parents before children, and every parameter and buffer by its qualified name."""

    submodules: tuple[Submodule, ...]
    places: Mapping[str, TensorPlace]

    @classmethod
    def of(cls, built: nn.Module) -> "Layout":
        """Describe a module that its blueprint has just built."""
        paths = {path: number for number, (path, _) in enumerate(built.named_modules())}
        submodules, places = [], {}
        for path, module in built.named_modules():
            if path:
                parent, _, name = path.rpartition(".")
                own = {key: value for key, value in vars(module).items() if key not in _MACHINERY}
                submodules.append(Submodule(paths[parent], name, type(module), own | {"training": True}))
            for registry in _REGISTRIES:
                for name, tensor in getattr(module, registry).items():
                    spec = None if tensor is None else (tensor.dtype, tensor.shape)
                    places[f"{path}.{name}" if path else name] = TensorPlace(paths[path], registry, name, spec)
        return cls(tuple(submodules), places)

    def find_modules(self, root: nn.Module) -> list[nn.Module] | None:
        """Return a module and its submodules in this layout's order, or None where it is made of anything else.

        Dtypes and shapes are not looked at: they are judged at every call.
        """
        found = [root]
        for expected in self.submodules:
            child = found[expected.parent]._modules.get(expected.name)  # noqa: SLF001 - the registry itself
            if child is None or not expected.is_like(child):
                return None
            found.append(child)
        for place in self.places.values():
            registry = place.registry_in(found)
            if place.name not in registry or (registry[place.name] is None) != (place.spec is None):
                return None
        return found


_layouts: dict[BlueprintDigest, Layout] = {}


def layout_of(blueprint: Blueprint, built: nn.Module | None = None) -> Layout:
    """Return a blueprint's layout, found out once in a process: from a module just built, or from one without data."""
    found = _layouts.get(blueprint.digest)
    if found is None:
        found = _layouts[blueprint.digest] = Layout.of(built or blueprint.build(device="meta"))
    return found
