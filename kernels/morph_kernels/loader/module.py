"""The kernel module: an ordinary module whose body, eager or compiled, can be exchanged at a boundary."""

import threading
import weakref
from collections import Counter
from typing import Any, Self

import torch
from torch import nn

from morph_kernels.blueprint import Blueprint
from morph_kernels.identity import KernelDigest
from morph_kernels.loader.binding import BoundBody
from morph_kernels.loader.body import CompiledBody, find_body
from morph_kernels.loader.fit import check_interface
from morph_kernels.loader.host_compile import untraced
from morph_kernels.loader.layout import layout_of
from morph_kernels.reasons import Reason

COMPILED = "compiled"


class KernelModule(nn.Module):
    """A module with the parameters, buffers and `state_dict` of `blueprint.build()`, whatever body runs.

    Attributes:
        source: where the compiled body came from ("process", "disk", "redis", "store"), or "eager".
        reason: why there is no compiled body, or None.
        calls: how often each body ran: "compiled", or the reason why a call ran eager.
    """

    _bound: BoundBody | None
    _eager: nn.Module

    def __init__(self, blueprint: Blueprint, *, seed: int = 0) -> None:
        """Build the module eager; the loader gives it a body."""
        super().__init__()
        eager = blueprint.build(seed=seed)
        layout_of(blueprint, eager)
        self.blueprint = blueprint
        self.source = "eager"
        self.reason: Reason | None = Reason.NOT_READY
        self.calls: Counter[str] = Counter()
        # Not a child: parameters keep the blueprint's own names, and both modules share one set of them.
        self.__dict__["_eager"] = eager
        self.__dict__ |= {name: eager.__dict__[name] for name in _SHARED}
        self._bound = None
        _remember(self)

    @property
    def digest(self) -> KernelDigest | None:
        """The digest of the compiled body, or None while eager."""
        return self._bound.body.digest if self._bound is not None else None

    def use_body(self, body: CompiledBody, source: str) -> Reason | None:
        """Run compiled from the next call on; only the loader does this, at a boundary or at load.

        Returns:
            None, or why it runs eager: the body names tensors that a module of this blueprint does not have.
        """
        try:
            self._bound = BoundBody(body, self.blueprint)
        except KeyError:
            self.use_eager(Reason.LOAD_FAILED)
        else:
            self.source, self.reason = source, None
        return self.reason

    def use_eager(self, reason: Reason = Reason.REQUESTED) -> None:
        """Run eager from the next call on, for the reason given."""
        self._bound = None
        self.source, self.reason = "eager", reason

    def train(self, mode: bool = True) -> Self:
        """Set the mode of this module and of the eager body that shares its children."""
        super().train(mode)
        self._eager.training = mode
        return self

    @untraced
    def forward(self, *inputs: torch.Tensor) -> Any:
        """Run the compiled body if this call fits it, else the eager one.

        Raises:
            InterfaceMismatchError: the inputs do not fit the blueprint's interface, so they fit no body.
        """
        bound = self._bound
        plan = self._why_eager() if bound is None else bound.plan_call(self, inputs)
        if bound is not None and not isinstance(plan, Reason):
            self.calls[COMPILED] += 1
            return bound.body(plan)
        self.calls[str(plan)] += 1
        check_interface(self.blueprint.interface, inputs)
        return self._eager(*inputs)

    def _why_eager(self) -> Reason:
        return self.reason or Reason.NOT_READY

    def __getstate__(self) -> dict[str, Any]:
        """Carry the state and the digest; loaded libraries stay with the process that loaded them."""
        return {**self.__dict__, "_bound": None, "_wanted": self.digest}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take the state, and the body too where this process has loaded that digest."""
        wanted, source = state.pop("_wanted"), state["source"]
        self.__dict__.update(state)
        _remember(self)
        body = find_body(wanted) if wanted is not None else None
        if body is not None:
            self.use_body(body, source)
        elif wanted is not None:
            self.use_eager(Reason.NOT_READY)


# What `nn.Module` keeps its state in; the kernel module and its eager body use the same objects.
_SHARED = ("_parameters", "_buffers", "_modules", "_non_persistent_buffers_set")

_alive: "weakref.WeakSet[KernelModule]" = weakref.WeakSet()
_alive_lock = threading.Lock()


def _remember(module: KernelModule) -> None:
    with _alive_lock:
        _alive.add(module)


def alive_modules() -> list[KernelModule]:
    """Return every kernel module of this process that somebody still holds: given out, copied or unpickled."""
    with _alive_lock:
        return list(_alive)
