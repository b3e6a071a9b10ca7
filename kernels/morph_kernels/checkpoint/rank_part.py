"""What each rank saves for itself: its generators and its position in the data."""

import json
from typing import Any

from morph_kernels.canonical import canonical_bytes
from morph_kernels.checkpoint.rng import capture_generators, restore_generators
from morph_kernels.checkpoint.state import Stateful, StateMismatchError
from morph_kernels.checkpoint.tree import decode_tree, encode_tree


def read_rank_part(data: Stateful | None) -> bytes:
    """Return this rank's part as canonical bytes."""
    # The position first: a loader's state_dict may draw numbers, and the generators must be as they are afterwards.
    position = None if data is None else {"state": encode_tree(data.state_dict(), path="data")}
    return canonical_bytes({"data": position, "generators": capture_generators()})


def load_rank_part(part: bytes, data: Stateful | None) -> None:
    """Put this rank's data position and then its generators into the saved state.

    Raises:
        StateMismatchError: only one of checkpoint and state has a data position.
    """
    document: dict[str, Any] = json.loads(part)
    saved = document["data"]
    if (saved is None) != (data is None):
        here, there = ([], ["data"]) if data is None else (["data"], [])
        raise StateMismatchError("data positions", missing=here, unexpected=there)
    if data is not None:
        data.load_state_dict(decode_tree(saved["state"]))
    restore_generators(document["generators"])
