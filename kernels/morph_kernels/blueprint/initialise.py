"""Fill parameters from a generator keyed by (seed, qualified name): never the global one, never order-dependent."""

import torch

from morph_kernels.blueprint.interface import keyed_seed
from morph_kernels.blueprint.ops.spec import Initialisation, Slot


def filled_parameter(name: str, slot: Slot, fill: Initialisation, *, seed: int, device: str) -> torch.nn.Parameter:
    """Return the parameter of the qualified name: the same bits for the same seed on every device."""
    return torch.nn.Parameter(_filled(name, slot, fill, seed).to(device))


def filled_buffer(name: str, slot: Slot, *, device: str) -> torch.Tensor:
    """Return the buffer as torch itself initialises it."""
    return _filled(name, slot, slot.initialisation, 0).to(device)


def _filled(name: str, slot: Slot, fill: Initialisation, seed: int) -> torch.Tensor:
    # On the CPU, whatever the default device: one generator's bits.
    tensor = torch.empty(slot.shape, dtype=getattr(torch, slot.dtype), device="cpu")
    generator = torch.Generator().manual_seed(keyed_seed(seed, name))
    match fill.kind, fill.arguments:
        case "zeros", _:
            return tensor.zero_()
        case "ones", _:
            return tensor.fill_(1)
        case "constant", (value,):
            return tensor.fill_(value)
        case "normal", (mean, std):
            return tensor.normal_(mean, std, generator=generator)
        case "uniform", (low, high):
            return tensor.uniform_(low, high, generator=generator)
    raise AssertionError(f"{name}: the rules admit no initialisation {fill}")
