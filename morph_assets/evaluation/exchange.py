"""The files that cross the sandbox's border.

A recording is what one sample did: 8 bytes little-endian length, that many bytes of JSON, then the tensors' bytes one
after another in the order of the JSON's `tensors`. A child's files are read as the untrusted bytes that they are.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from morph_kernels.compile.errors import SandboxError
from morph_kernels.compile.result import read_file
from morph_kernels.errors import MorphError

if TYPE_CHECKING:
    import numpy as np

REFERENCE: Final = "reference"
CANDIDATE: Final = "candidate"
REQUEST: Final = "request.json"
BLUEPRINT: Final = "blueprint.json"
MANIFEST: Final = "manifest.json"
RESULT: Final = "result.json"
REFUSAL: Final = "refusal.json"
STAGE: Final = "stage.txt"
MAX_JSON_BYTES: Final = 4 * 1024 * 1024
_DTYPES: Final = frozenset({"float32", "float64", "int64", "bool"})
_HEAD_BYTES: Final = 8


class GarbledError(MorphError):
    """What a child left is missing or not what it should be."""


@dataclass(frozen=True)
class Recording:
    """What one sample did: tensors by name, digests of what should not have changed, and plain claims."""

    tensors: "Mapping[str, np.ndarray]"
    digests: Mapping[str, str] = field(default_factory=dict)
    claims: Mapping[str, Any] = field(default_factory=dict)


def recording_name(index: int, variant: str) -> str:
    """Name the recording of a sample: the variant is a dtype of eager, or a number of threads."""
    return f"{index:03d}-{variant}.bin"


def write_recording(path: Path, recording: Recording) -> None:
    """Write a recording; the child's side."""
    tensors = [
        {"dtype": str(value.dtype), "name": name, "shape": list(value.shape)}
        for name, value in recording.tensors.items()
    ]
    header = json.dumps({"claims": recording.claims, "digests": recording.digests, "tensors": tensors}).encode()
    with path.open("wb") as file:
        file.write(len(header).to_bytes(_HEAD_BYTES, "little"))
        file.write(header)
        for value in recording.tensors.values():
            file.write(value.tobytes())


def read_recording(path: Path, *, max_bytes: int) -> Recording:
    """Read a recording; the parent's side.

    Raises:
        GarbledError: it is missing, too large, or not of the format.
    """
    data = memoryview(read_untrusted(path, max_bytes=max_bytes))
    length = int.from_bytes(data[:_HEAD_BYTES], "little")
    if len(data) < _HEAD_BYTES or length > min(MAX_JSON_BYTES, len(data) - _HEAD_BYTES):
        raise GarbledError(f"{path.name} has no header")
    header = parse_object(bytes(data[_HEAD_BYTES : _HEAD_BYTES + length]), path.name)
    try:
        tensors = _split(data[_HEAD_BYTES + length :], header["tensors"])
        return Recording(tensors, _texts(header["digests"]), dict(header["claims"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise GarbledError(f"{path.name} does not hold what its header says") from error


def _split(data: memoryview, entries: list[Any]) -> "dict[str, np.ndarray]":
    import numpy as np

    tensors: dict[str, np.ndarray] = {}
    position = 0
    for entry in entries:
        name, dtype, shape = entry["name"], entry["dtype"], entry["shape"]
        if dtype not in _DTYPES or any(type(size) is not int or size < 0 for size in shape) or name in tensors:
            raise ValueError(name)
        size_bytes = math.prod(shape) * np.dtype(dtype).itemsize
        tensors[str(name)] = np.frombuffer(data[position : position + size_bytes], dtype=dtype).reshape(shape)
        position += size_bytes
    if position != len(data):
        raise ValueError(position)
    return tensors


def _texts(document: Mapping[Any, Any]) -> dict[str, str]:
    return {str(key): str(value) for key, value in document.items()}


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object that a child wrote.

    Raises:
        GarbledError: it is missing, too large, or no JSON object.
    """
    return parse_object(read_untrusted(path, max_bytes=MAX_JSON_BYTES), path.name)


def parse_object(data: bytes, name: str) -> dict[str, Any]:
    """Read the bytes of a JSON object, or raise `GarbledError`."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise GarbledError(f"{name} is not JSON") from error
    if not isinstance(document, dict):
        raise GarbledError(f"{name} is not a JSON object")
    return document


def read_untrusted(path: Path, *, max_bytes: int) -> bytes:
    """Read a plain file that a child wrote, or raise `GarbledError`: what a kernel leaves is never our own error."""
    try:
        return read_file(path, max_bytes)
    except SandboxError as error:
        raise GarbledError(str(error)) from error
