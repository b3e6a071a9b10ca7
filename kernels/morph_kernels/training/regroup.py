"""Keeps an optimizer equal to what learns, when a graft adds, freezes or removes parameters."""

from collections.abc import Callable, Sequence

from torch import nn
from torch.optim import Optimizer

GroupOf = Callable[[str], int]


def plan_groups(trainable: Sequence[str], group_of: GroupOf, count: int) -> list[list[str]]:
    """Return the names of each of `count` groups, in the model's order.

    Raises:
        IndexError: a name belongs to a group that the optimizer does not have.
    """
    groups: list[list[str]] = [[] for _ in range(count)]
    for name in trainable:
        groups[group_of(name)].append(name)
    return groups


def regroup(optimizer: Optimizer, model: nn.Module, group_of: GroupOf) -> None:
    """Let the optimizer hold exactly the model's trainable parameters; what stays keeps its state.

    The optimizer stays the same object, so that schedulers which hold it go on.
    """
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    groups = plan_groups(tuple(parameters), group_of, len(optimizer.param_groups))
    for group, names in zip(optimizer.param_groups, groups, strict=True):
        group["params"] = [parameters[name] for name in names]
    kept = {id(parameter) for parameter in parameters.values()}
    for parameter in [parameter for parameter in optimizer.state if id(parameter) not in kept]:
        del optimizer.state[parameter]
