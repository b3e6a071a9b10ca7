"""Modules and examples that no design can hold, each refused by name."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from morph_kernels.blueprint import Blueprint, BlueprintError, UnsupportedModuleError


class Branching(nn.Module):
    def forward(self, x):
        return x + 1 if x.sum() > 0 else x


class OwnBuffer(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.ones(4))

    def forward(self, x):
        return x * self.mask


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.idle = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.used(x)


class InPlaceAlias(nn.Module):
    def forward(self, x):
        y = x * 2
        z = y
        z += 1
        return y * z


class Modal(nn.Module):
    def forward(self, x):
        return x * 2 if self.training else x * 3


def _tied():
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].weight = module[0].weight
    return module


def _hooked():
    module = nn.Sequential(nn.Linear(4, 4))
    module[0].register_forward_hook(lambda *_: None)
    return module


class Calls(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


REFUSED = {
    "a branch on data": (Branching(), "cannot be traced"),
    "a buffer of its own": (OwnBuffer(), "mask"),
    "an unused parameter": (Unused(), "idle.weight"),
    "an in-place change of an alias": (InPlaceAlias(), "computes something else"),
    "a branch on training": (Modal(), "eval mode"),
    "a shared parameter": (_tied(), "1.weight"),
    "a hook": (_hooked(), "forward hooks"),
    "another dtype": (nn.Sequential(nn.Linear(4, 4)).double(), "float64"),
    "an unknown module": (nn.Sequential(nn.Bilinear(4, 4, 4)), "Bilinear"),
    "an unknown leaf": (nn.Sequential(nn.Softshrink()), "Softshrink"),
    "an unknown function": (Calls(torch.cumsum), "cumsum"),
    "functional dropout": (Calls(F.dropout), "dropout"),
    "a padding mode": (nn.Sequential(nn.Conv1d(2, 2, 1, padding_mode="reflect")), "padding_mode"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_design_cannot_hold_is_refused_by_name(case):
    module, expected = REFUSED[case]
    with pytest.raises(UnsupportedModuleError, match=expected) as caught:
        Blueprint.from_module(module, example_inputs=(torch.randn(2, 4),), name="refused")
    assert "\n" not in str(caught.value)


def test_wrong_examples_are_refused():
    with pytest.raises(UnsupportedModuleError, match="got 2"):
        Blueprint.from_module(Unused(), example_inputs=(torch.ones(1, 4),) * 2, name="x")
    with pytest.raises(BlueprintError, match="last size 4"):
        Blueprint.from_module(nn.Sequential(nn.Linear(4, 4)), example_inputs=(torch.ones(1, 5),), name="x")
    with pytest.raises(UnsupportedModuleError, match="no such input"):
        Blueprint.from_module(Unused(), example_inputs=(torch.ones(1, 4),), name="x", dynamic={1: {0: "batch"}})


def test_a_symbol_has_one_size_and_a_range_that_holds_it():
    read = {"module": Unused(), "example_inputs": (torch.ones(1, 4),), "name": "x"}
    with pytest.raises(UnsupportedModuleError, match=r"dynamic\[0\]\[1\].*was 1 before"):
        Blueprint.from_module(**read, dynamic={0: {0: "n", 1: "n"}})
    with pytest.raises(UnsupportedModuleError, match="must hold the example's size 1"):
        Blueprint.from_module(**read, dynamic={0: {0: "n"}}, ranges={"n": (2, 8)})
    with pytest.raises(UnsupportedModuleError, match="no dimension"):
        Blueprint.from_module(**read, ranges={"n": (2, 8)})


def test_a_lone_layer_is_refused_because_its_parameters_have_no_path():
    with pytest.raises(UnsupportedModuleError, match=r"nn\.Sequential"):
        Blueprint.from_module(nn.Linear(4, 4), example_inputs=(torch.ones(1, 4),), name="lone")
