"""State of any shape as canonical JSON: nothing is lost, nothing is executed.

JSON knows neither tuples nor bytes nor the difference between 1 and 1.0, and RFC 8785 has no NaN. So every value that
JSON would change is tagged, and tensors are handed to a `Keeper`, which answers with a name for them.
"""

import base64
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from morph_kernels.checkpoint.dtypes import dtype_name, parse_dtype, tensor_bytes, tensor_from_bytes
from morph_kernels.errors import MorphError

MAX_DEPTH = 64
_EXACT_INTEGER = 2**53

type_error = "state of type {} cannot be saved without pickle: give it a state_dict of plain values and tensors"

Keeper = Callable[[torch.Tensor, str], str]
Finder = Callable[[str], torch.Tensor]


class TreeError(MorphError):
    """A value that cannot be saved, or a document that is not a saved value; the message names the place."""


def keep_inline(tensor: torch.Tensor, path: str) -> str:
    """Return a tensor as text, for small documents that travel alone."""
    shape = ",".join(map(str, tensor.shape))
    return f"{dtype_name(tensor.dtype, path)}:{shape}:{base64.b64encode(tensor_bytes(tensor)).decode()}"


def find_inline(text: str) -> torch.Tensor:
    """Return the tensor that `keep_inline` wrote."""
    dtype, shape, data = text.split(":")
    dimensions = tuple(int(size) for size in shape.split(",") if size)
    return tensor_from_bytes(base64.b64decode(data), parse_dtype(dtype), dimensions)


def encode_tree(value: Any, keep: Keeper = keep_inline, *, path: str = "state", depth: int = 0) -> Any:
    """Return a JSON document of the value.

    Raises:
        TreeError: a value has no safe form, or the nesting is deeper than `MAX_DEPTH`.
    """
    if depth > MAX_DEPTH:
        raise TreeError(f"{path} is nested deeper than {MAX_DEPTH}")
    if value is None or type(value) in (bool, str):
        return value
    if isinstance(value, torch.Tensor):
        return {"tensor": keep(value, path)}
    if type(value) in (list, tuple):
        items = [encode_tree(item, keep, path=f"{path}/{i}", depth=depth + 1) for i, item in enumerate(value)]
        return items if type(value) is list else {"tuple": items}
    if isinstance(value, Mapping):
        pairs = [
            [
                encode_tree(key, path=path, depth=depth + 1),
                encode_tree(item, keep, path=f"{path}/{key}", depth=depth + 1),
            ]
            for key, item in value.items()
        ]
        return {"dict": pairs}
    return _encode_leaf(value, path)


def _encode_leaf(value: Any, path: str) -> Any:
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return {"array": [value.dtype.str, list(value.shape), base64.b64encode(value.tobytes()).decode()]}
    if type(value) is int:
        return value if abs(value) <= _EXACT_INTEGER else {"int": str(value)}
    if type(value) is float:
        return {"float": value.hex()}
    if type(value) is bytes:
        return {"bytes": base64.b64encode(value).decode()}
    raise TreeError(f"{path}: {type_error.format(type(value).__name__)}")


def decode_tree(document: Any, find: Finder = find_inline) -> Any:
    """Return the value of a document that `encode_tree` wrote.

    Raises:
        TreeError: the document is not one.
    """
    if document is None or isinstance(document, bool | str | int):
        return document
    if isinstance(document, list):
        return [decode_tree(item, find) for item in document]
    if isinstance(document, dict) and len(document) == 1:
        ((tag, body),) = document.items()
        if tag == "tensor":
            return find(body)
        if tag == "tuple":
            return tuple(decode_tree(item, find) for item in body)
        if tag == "dict":
            return {decode_tree(key, find): decode_tree(item, find) for key, item in body}
        if tag in _LEAVES:
            return _LEAVES[tag](body)
    raise TreeError(f"not a saved value: {str(document)[:80]!r}")


def _decode_array(body: Any) -> np.ndarray[Any, Any]:
    dtype, shape, data = body
    return np.frombuffer(base64.b64decode(data), np.dtype(dtype)).reshape(shape).copy()


_LEAVES: Mapping[str, Callable[[Any], Any]] = {
    "int": int,
    "float": float.fromhex,
    "bytes": base64.b64decode,
    "array": _decode_array,
}
