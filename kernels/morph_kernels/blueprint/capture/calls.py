"""The pure functions that may stand in a `forward`, by the function object or the method's name."""

import operator
from collections.abc import Mapping
from typing import Any, Final

import torch
from torch.nn import functional as F  # noqa: N812  torch's own name for it

from morph_kernels.blueprint.capture.arithmetic import ARITHMETIC, Handler
from morph_kernels.blueprint.capture.shaping import SHAPING

_NAMED: Final[Mapping[str, Handler]] = {**ARITHMETIC, **SHAPING}
ALLOWED_CALLS: Final = tuple(sorted(_NAMED))
_HOMES: Final = (torch, F, operator)


def _by_function() -> dict[Any, Handler]:
    """Return the handlers by the very function objects of torch, its functional module and `operator`."""
    found: dict[Any, Handler] = {getattr: _NAMED["getattr"]}
    for name, handler in _NAMED.items():
        found |= {getattr(home, name): handler for home in _HOMES if hasattr(home, name)}
    return found


_METHODS: Final = frozenset(name for name in _NAMED if hasattr(torch.Tensor, name))
_FUNCTIONS: Final = _by_function()


def find_handler(kind: str, target: Any) -> Handler | None:
    """Return the handler of a traced call, or None where the IR has no word for it."""
    if kind == "call_method":
        return _NAMED[target] if target in _METHODS else None
    return _FUNCTIONS.get(target)
