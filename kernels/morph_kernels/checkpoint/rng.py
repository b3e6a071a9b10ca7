"""The state of every global generator of this process as one document: Python, NumPy, torch, CUDA where it is used.

Bytes only, never a pickle. Restoring it is the last step of a restore, because building modules draws numbers.
"""

import random
from typing import Any

import numpy as np
import torch

from morph_kernels.checkpoint.tree import decode_tree, encode_tree
from morph_kernels.errors import MorphError


class GeneratorStateError(MorphError):
    """A saved generator state that this process cannot take."""


def capture_generators() -> Any:
    """Return the document of all generator states of this process."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002 - the global one is what training code draws from
    state = {
        "python": random.getstate(),
        "numpy": (str(name), np.asarray(keys), int(position), int(has_gauss), float(gauss)),
        "torch": torch.get_rng_state(),
        "cuda": _cuda_states(),
    }
    return encode_tree(state, path="generators")


def restore_generators(document: Any) -> None:
    """Put every generator into the saved state.

    Raises:
        GeneratorStateError: the document is no such state, or has another number of CUDA devices than this process.
    """
    state = decode_tree(document)
    if not isinstance(state, dict) or set(state) != {"python", "numpy", "torch", "cuda"}:
        raise GeneratorStateError("the checkpoint's generator states have another form than this version writes")
    if state["cuda"] and len(state["cuda"]) != torch.cuda.device_count():
        raise GeneratorStateError(f"saved with {len(state['cuda'])} CUDA devices, here are {torch.cuda.device_count()}")
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])  # noqa: NPY002 - the global one is what training code draws from
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


def _cuda_states() -> list[torch.Tensor]:
    used: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # torch gives it no types
    return torch.cuda.get_rng_state_all() if used else []
