"""Optimizer state by parameter name, so that it stays right when a graft adds, freezes or removes parameters."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from morph_kernels.checkpoint.state import StateMismatchError
from morph_kernels.checkpoint.tree import Finder, Keeper, decode_tree, encode_tree
from morph_kernels.errors import MorphError


class UnnamedParameterError(MorphError):
    """The optimizer holds a parameter, or state, that the model does not name."""


def trainable_names(model: nn.Module) -> tuple[str, ...]:
    """Return the names of the parameters that ask for gradients, in the model's order."""
    return tuple(name for name, parameter in model.named_parameters() if parameter.requires_grad)


def optimizer_names(optimizer: Optimizer, model: nn.Module) -> list[list[str]]:
    """Return the names of each group's parameters.

    Raises:
        UnnamedParameterError: a parameter is not the model's.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    try:
        return [[names[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups]
    except KeyError:
        raise UnnamedParameterError(
            "the optimizer holds a parameter that the model does not have: rebuild it after a graft"
        ) from None


def describe_optimizer(optimizer: Optimizer, model: nn.Module, keep: Keeper) -> dict[str, Any]:
    """Return the document of an optimizer; its tensors go to `keep` as `optimizer/<parameter>/<key>`."""
    names = optimizer_names(optimizer, model)
    by_id = {id(parameter): name for name, parameter in model.named_parameters()}
    unnamed = [key for key in optimizer.state if id(key) not in by_id]
    if unnamed:
        raise UnnamedParameterError(f"the optimizer keeps state for {len(unnamed)} things that are no parameters")
    options = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    return {
        "kind": type(optimizer).__name__,
        "groups": [
            {"names": group, "options": encode_tree(option, keep, path=f"optimizer-group/{index}")}
            for index, (group, option) in enumerate(zip(names, options, strict=True))
        ],
        "state": {
            by_id[id(parameter)]: encode_tree(values, keep, path=f"optimizer/{by_id[id(parameter)]}")
            for parameter, values in optimizer.state.items()
        },
    }


def check_optimizer(optimizer: Optimizer | None, model: nn.Module, document: Mapping[str, Any] | None) -> None:
    """Check that checkpoint and optimizer are of one kind and hold the same parameters in the same groups.

    Raises:
        StateMismatchError: they do not; the message names the parameters.
    """
    found = [] if optimizer is None else [type(optimizer).__name__]
    wanted = [] if document is None else [document["kind"]]
    if found != wanted:
        raise StateMismatchError("optimizers", missing=found, unexpected=wanted)
    if optimizer is None or document is None:
        return
    have = optimizer_names(optimizer, model)
    want = [group["names"] for group in document["groups"]]
    if have != want:
        here = [f"{name} (group {i})" for i, names in enumerate(have) for name in names]
        there = [f"{name} (group {i})" for i, names in enumerate(want) for name in names]
        missing, unexpected = sorted(set(here) - set(there)), sorted(set(there) - set(here))
        raise StateMismatchError("optimizer parameters", missing=missing, unexpected=unexpected)


def load_optimizer(optimizer: Optimizer, model: nn.Module, document: Mapping[str, Any], find: Finder) -> None:
    """Put the optimizer into the saved state; `check_optimizer` has passed.

    torch's own `load_state_dict` casts state to the parameter's dtype and goes by position: here nothing is cast.
    """
    parameters = dict(model.named_parameters())
    for group, saved in zip(optimizer.param_groups, document["groups"], strict=True):
        group.update(decode_tree(saved["options"], find))
    options = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    optimizer.state.clear()
    for name, saved in document["state"].items():
        parameter = parameters[name]
        optimizer.state[parameter] = {
            key: _placed(key, value, parameter, options.get(id(parameter), {}))
            for key, value in decode_tree(saved, find).items()
        }


def _placed(key: str, value: Any, parameter: torch.Tensor, options: Mapping[str, Any]) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    # torch keeps the step count on the CPU unless the update itself runs on the device.
    if key == "step" and not (options.get("capturable") or options.get("fused")):
        return value
    return value.to(parameter.device)
