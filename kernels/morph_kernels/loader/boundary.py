"""Agreement at a boundary: bodies are exchanged on all ranks or on none."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
import torch.distributed as dist

from morph_kernels.canonical import canonical_bytes
from morph_kernels.errors import MorphError

EAGER = "eager"
_CAPACITY_BYTES = 256 * 1024


class BoundaryError(MorphError):
    """The ranks do not hold the same slots, so there is nothing to agree about. Nothing was exchanged."""


@dataclass(frozen=True)
class SlotState:
    """What one rank runs in a slot, what it would run, and whether it could at once. Bodies: a digest, or `EAGER`."""

    slot: str
    current: str
    wanted: str
    ready: bool


def plan_exchange(ranks: Sequence[Sequence[SlotState]]) -> dict[str, str]:
    """Return the body that every rank runs in each slot from here on.

    All want the same and are ready: that one. One wants eager, since a kernel was revoked there: eager, which is always
    ready. Otherwise each keeps what it has if that is the same everywhere, else all go eager.

    Raises:
        BoundaryError: the ranks hold different slots.
    """
    names = [[state.slot for state in states] for states in ranks]
    if any(other != names[0] for other in names):
        raise BoundaryError(f"ranks hold different slots: {names[0]} and {next(o for o in names if o != names[0])}")
    return {states[0].slot: _agree(states) for states in zip(*ranks, strict=True)}


def _agree(states: Sequence[SlotState]) -> str:
    wanted = {state.wanted for state in states}
    current = {state.current for state in states}
    if EAGER in wanted:
        return EAGER
    if len(wanted) == 1 and all(state.ready for state in states):
        return wanted.pop()
    return current.pop() if len(current) == 1 else EAGER


def gather_states(states: Sequence[SlotState], group: dist.ProcessGroup | None) -> list[list[SlotState]]:
    """Return every rank's states, with one collective; without a group, this process's alone.

    Raises:
        BoundaryError: more slots than one collective carries.
    """
    if group is None:
        return [list(states)]
    payload = canonical_bytes({"states": [asdict(state) for state in states]})
    if len(payload) > _CAPACITY_BYTES - 8:
        raise BoundaryError(f"{len(states)} slots are more than one collective carries")
    sent = torch.zeros(_CAPACITY_BYTES, dtype=torch.uint8)
    framed = len(payload).to_bytes(8, "little") + payload
    sent[: len(framed)] = torch.frombuffer(bytearray(framed), dtype=torch.uint8)
    received = [torch.zeros_like(sent) for _ in range(dist.get_world_size(group))]
    dist.all_gather(received, sent, group=group)
    return [_read(buffer.numpy().tobytes()) for buffer in received]


def _read(buffer: bytes) -> list[SlotState]:
    length = int.from_bytes(buffer[:8], "little")
    document: Mapping[str, list[dict[str, str | bool]]] = json.loads(buffer[8 : 8 + length])
    return [
        SlotState(str(state["slot"]), str(state["current"]), str(state["wanted"]), bool(state["ready"]))
        for state in document["states"]
    ]
