"""A body bound to one module: where its tensors live, and whether a call fits it."""

from collections.abc import Callable, Sequence

import torch
from torch import nn

from morph_kernels.loader.body import CompiledBody
from morph_kernels.loader.fit import CallRules, find_mode_reason, find_tensor_reason, likeness_to
from morph_kernels.reasons import Reason


class BoundBody:
    """A compiled body together with the parameters and buffers of one module.

    Tensors are read anew at every call, from the registries that `nn.Module` keeps them in: an optimizer, a host or a
    user may have replaced them.
    """

    def __init__(self, body: CompiledBody, module: nn.Module) -> None:
        """Look up where the body's tensors live in the module.

        Raises:
            AttributeError, KeyError: the module lacks one of them.
        """
        self.body = body
        self._rules = CallRules(body.convention)
        self._positions = body.convention.positions
        self._links = [
            (parent._modules, name, child)  # noqa: SLF001 - the registry itself, to see a child replaced
            for parent in module.modules()
            for name, child in parent._modules.items()  # noqa: SLF001 - the same
            if child is not None
        ]
        self._state: list[tuple[dict[str, torch.Tensor], str]] = [
            *(_registry_of(module, name, "_parameters") for name in body.convention.parameters),
            *(_registry_of(module, name, "_buffers") for name in body.convention.buffers),
        ]
        self._layout = [(tensors[name].dtype, tensors[name].shape) for tensors, name in self._state]
        self._is_like_the_last: Callable[..., bool] = _never

    def plan_call(self, inputs: Sequence[torch.Tensor], *, training: bool) -> list[torch.Tensor] | Reason:
        """Return the tensors to call the body with, or why this call does not fit it."""
        reason = find_mode_reason(training=training)
        if reason is not None:
            return reason
        state = self._read_state()
        tensors = [*state, *inputs]
        if len(tensors) == self._positions and self._is_like_the_last(*tensors):
            return tensors
        reason = self._rules.find_reason(inputs) or self._find_state_reason(state)
        if reason is None and not any(tensor.requires_grad for tensor in tensors):
            reason = Reason.FROZEN
        if reason is not None:
            return reason
        self._is_like_the_last = likeness_to(tensors)
        return tensors

    def _find_state_reason(self, state: Sequence[torch.Tensor]) -> Reason | None:
        if len(state) != len(self._layout):
            return Reason.STATE_CHANGED
        for tensor, (dtype, shape) in zip(state, self._layout, strict=True):
            reason = find_tensor_reason(tensor, dtype)
            if reason is not None or tensor.shape != shape:
                return reason or Reason.STATE_CHANGED
        return None

    def _read_state(self) -> list[torch.Tensor]:
        """Return parameters and buffers as they are now; fewer where a layer was replaced or has hooks to run."""
        state: list[torch.Tensor] = []
        for registry, name, child in self._links:
            if registry.get(name) is not child or child._forward_hooks or child._forward_pre_hooks:  # noqa: SLF001 - torch has no public way to ask
                return state
            if child._backward_hooks or child._backward_pre_hooks:  # noqa: SLF001 - the same
                return state
        for tensors, name in self._state:
            tensor = tensors.get(name)
            if tensor is None:
                return state
            state.append(tensor)
        return state


def _never(*_: torch.Tensor) -> bool:
    return False


def _registry_of(module: nn.Module, qualified: str, registry: str) -> tuple[dict[str, torch.Tensor], str]:
    path, _, name = qualified.rpartition(".")
    tensors: dict[str, torch.Tensor] = getattr(module.get_submodule(path), registry)
    return tensors, name
