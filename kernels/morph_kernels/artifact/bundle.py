"""One kernel as one object: manifest and libraries in a single zstd frame.

The object is exactly one zstd frame (RFC 8878) with its content size in the header and a checksum; nothing follows it.
Its content, all integers little-endian:

```
offset      bytes  meaning
0           8      "MORPHKB1"
8           4      length of the manifest, M
12          1      number of libraries, L (1 or 2)
13          9 * L  for each library: role (1 byte: 1 forward, 2 backward, ascending), length (8 bytes)
13 + 9 * L  M      the manifest's canonical bytes
...                the libraries in the order above, without padding; then the end
```

Attestations are not inside: a bundle never changes, while a kernel can earn more of them.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

import zstandard

from morph_kernels.artifact.document import MalformedError
from morph_kernels.artifact.manifest import MAX_LIBRARY_BYTES, MAX_MANIFEST_BYTES, LibraryRole
from morph_kernels.reasons import Reason

MAX_BUNDLE_BYTES = MAX_MANIFEST_BYTES + 2 * MAX_LIBRARY_BYTES
_MAGIC = b"MORPHKB1"
_HEAD = struct.Struct("<8sIB")
_ENTRY = struct.Struct("<BQ")
_CODES: dict[LibraryRole, int] = {"forward": 1, "backward": 2}
_ROLES: dict[int, LibraryRole] = {code: role for role, code in _CODES.items()}
# Shared objects compress to a third; higher levels cost seconds for a few percent.
_LEVEL = 12


@dataclass(frozen=True)
class KernelBundle:
    """The bytes of one kernel, unjudged: `verify_kernel` says whether they may run."""

    manifest: bytes
    libraries: Mapping[LibraryRole, bytes]

    @property
    def size_bytes(self) -> int:
        """Bytes in memory, uncompressed."""
        return len(self.manifest) + sum(len(library) for library in self.libraries.values())


def encode_bundle(bundle: KernelBundle) -> bytes:
    """Return the stored form of a bundle.

    Raises:
        ValueError: it holds no library, an unknown role, or more than `decode_bundle` could accept.
    """
    if not bundle.libraries or not set(bundle.libraries) <= set(_CODES):
        raise ValueError("a bundle holds a forward and perhaps a backward library, nothing else")
    if bundle.size_bytes > MAX_BUNDLE_BYTES:
        raise ValueError(f"a bundle of {bundle.size_bytes} bytes could not be read again")
    libraries = sorted(((_CODES[role], data) for role, data in bundle.libraries.items()), key=lambda entry: entry[0])
    parts = [_HEAD.pack(_MAGIC, len(bundle.manifest), len(libraries))]
    parts += [_ENTRY.pack(code, len(data)) for code, data in libraries]
    parts += [bundle.manifest, *(data for _, data in libraries)]
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True, write_content_size=True)
    return compressor.compress(b"".join(parts))


def decode_bundle(data: bytes | memoryview, *, max_bytes: int = MAX_BUNDLE_BYTES) -> KernelBundle:
    """Read a stored bundle; at most `max_bytes` are ever allocated for its content.

    Raises:
        MalformedError: the content is or claims to be larger (`TOO_LARGE`), the frame or the framing inside is damaged,
            or bytes follow it.
    """
    content = _decompress(data, max_bytes)
    try:
        return _split(memoryview(content))
    except struct.error as error:
        raise MalformedError("bundle", "shorter than its header") from error


def _decompress(data: bytes | memoryview, max_bytes: int) -> bytes:
    # A frame is never much longer than its content, so this bounds what the decompressor may be fed.
    if len(data) > max_bytes + 1024 + max_bytes // 128:
        raise MalformedError("bundle", f"{len(data)} bytes", reason=Reason.TOO_LARGE)
    try:
        claimed = zstandard.get_frame_parameters(data).content_size
        if claimed in {zstandard.CONTENTSIZE_UNKNOWN, zstandard.CONTENTSIZE_ERROR}:
            raise MalformedError("bundle", "the frame does not say its content size")
        if claimed > max_bytes:
            raise MalformedError("bundle", f"claims {claimed} bytes of {max_bytes}", reason=Reason.TOO_LARGE)
        content = zstandard.ZstdDecompressor().decompress(data, max_output_size=claimed, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise MalformedError("bundle", "not a whole zstd frame") from error
    if len(content) != claimed:
        raise MalformedError("bundle", "the frame does not hold what it claims")
    return content


def _split(content: memoryview) -> KernelBundle:
    magic, manifest_bytes, count = _HEAD.unpack_from(content)
    if magic != _MAGIC or not 1 <= count <= len(_CODES) or manifest_bytes > MAX_MANIFEST_BYTES:
        raise MalformedError("bundle", "not a kernel bundle of this format")
    entries = [_ENTRY.unpack_from(content, _HEAD.size + _ENTRY.size * place) for place in range(count)]
    codes = [code for code, _ in entries]
    if codes not in ([1], [1, 2]):
        raise MalformedError("bundle", "unknown or disordered libraries")
    position = _HEAD.size + _ENTRY.size * count
    if position + manifest_bytes + sum(length for _, length in entries) != len(content):
        raise MalformedError("bundle", "lengths do not add up")
    manifest = bytes(content[position : position + manifest_bytes])
    position += manifest_bytes
    libraries: dict[LibraryRole, bytes] = {}
    for code, length in entries:
        libraries[_ROLES[code]] = bytes(content[position : position + length])
        position += length
    return KernelBundle(manifest, libraries)
