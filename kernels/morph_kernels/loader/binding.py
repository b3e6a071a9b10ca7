"""A body bound to one module: where its tensors live, and whether a call fits it."""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_modules

from morph_kernels.blueprint import Blueprint
from morph_kernels.loader.body import CompiledBody
from morph_kernels.loader.fit import CallRules, find_mode_reason, find_tensor_reason, is_plain, likeness_to
from morph_kernels.loader.layout import Layout, TensorPlace, layout_of
from morph_kernels.reasons import Reason

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_GLOBAL_HOOKS = tuple(getattr(torch_modules, f"_global{name}") for name in _HOOKS)


class BoundBody:
    """A compiled body together with the parameters and buffers of one module.

    Tensors are read anew at every call, from the registries that `nn.Module` keeps them in, and so are the attributes
    and hooks of every submodule: an optimizer, a host or a user may have replaced them, and eager would see it.
    """

    def __init__(self, body: CompiledBody, blueprint: Blueprint) -> None:
        """Take a body for a module of this blueprint; the module itself is looked at when it is called.

        Raises:
            KeyError: the body names a tensor that the blueprint's module does not have.
        """
        self.body = body
        self._rules = CallRules(body.convention)
        self._positions = body.convention.positions
        self._layout = layout_of(blueprint)
        self._places = [self._layout.places[name] for name in (*body.convention.parameters, *body.convention.buffers)]
        self._seen: _Seen | None = None
        self._is_like_the_last: Callable[..., bool] = _never

    def plan_call(self, module: nn.Module, inputs: Sequence[torch.Tensor]) -> list[torch.Tensor] | Reason:
        """Return the tensors to call the body with, or why this call does not fit it."""
        reason = find_mode_reason(training=module.training)
        if reason is not None:
            return reason
        # Read once: another thread may call the same module.
        seen = self._seen
        if seen is None or not seen.is_unchanged():
            seen = self._look_at(module)
        if seen is None:
            return Reason.STATE_CHANGED
        state: list[Any] = [registry.get(name) for registry, name in seen.state]
        tensors = [*state, *inputs]
        # Torch's guard ends the process over a nested tensor.
        if len(tensors) == self._positions and all(map(is_plain, inputs)) and self._is_like_the_last(*tensors):
            return tensors
        reason = self._rules.find_reason(inputs) or self._find_state_reason(state)
        if reason is None and not any(tensor.requires_grad for tensor in tensors):
            reason = Reason.FROZEN
        if reason is not None:
            return reason
        self._is_like_the_last = likeness_to(tensors)
        return tensors

    def _look_at(self, module: nn.Module) -> "_Seen | None":
        """Look at a module anew; return None where it is not what its blueprint says, or has hooks to run."""
        modules = self._layout.find_modules(module)
        seen = None if modules is None else _Seen(modules, self._layout, self._places)
        seen = None if seen is None or seen.has_hooks() else seen
        self._seen = seen
        return seen

    def _find_state_reason(self, state: Sequence[torch.Tensor | None]) -> Reason | None:
        # One tensor in two places is written once where eager writes twice.
        if len(set(map(id, state))) != len(state):
            return Reason.STATE_CHANGED
        for tensor, place in zip(state, self._places, strict=True):
            if tensor is None or place.spec is None:
                return Reason.STATE_CHANGED
            dtype, shape = place.spec
            reason = find_tensor_reason(tensor, dtype)
            if reason is not None or tensor.shape != shape:
                return reason or Reason.STATE_CHANGED
        return None


class _Seen:
    """A module's submodules as they were when they were looked at, in the form that is quickest to compare.

    Attributes:
        state: where each tensor lives that a body is called with.
    """

    def __init__(self, modules: list[nn.Module], layout: Layout, places: Sequence[TensorPlace]) -> None:
        self.state = [(place.registry_in(modules), place.name) for place in places]
        self._hooks = [*_GLOBAL_HOOKS, *(vars(module)[name] for module in modules[1:] for name in _HOOKS)]
        self._attributes = []
        for module, submodule in zip(modules[1:], layout.submodules, strict=True):
            read = itemgetter(*submodule.attributes, *_HOOKS, "_parameters", "_buffers", "_modules")
            self._attributes.append((module, type(module), len(vars(module)), read, read(vars(module))))
        self._families = [(module, dict(module._modules)) for module in modules if module._modules]  # noqa: SLF001 - the registry itself
        self._left_out = [
            (place.registry_in(modules), place.name) for place in layout.places.values() if place.spec is None
        ]

    def has_hooks(self) -> bool:
        """Return whether a hook of a submodule, or one for all modules, would run."""
        return any(self._hooks)

    def is_unchanged(self) -> bool:
        """Return whether every submodule is as it was; where that cannot be told, it is not."""
        if any(self._hooks):
            return False
        try:
            for module, kind, count, read, values in self._attributes:
                own = module.__dict__
                if type(module) is not kind or len(own) != count or read(own) != values:
                    return False
            for module, children in self._families:
                if module._modules != children:  # noqa: SLF001 - the registry itself
                    return False
            return not any(registry[name] is not None for registry, name in self._left_out)
        except (KeyError, TypeError, ValueError, RuntimeError):
            # An attribute is gone, or is now something that does not compare, as a tensor.
            return False


def _never(*_: torch.Tensor) -> bool:
    return False
