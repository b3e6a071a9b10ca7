"""What a kernel was built for, what this process can run, and whether the one fits the other."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from morph_kernels.artifact.document import Fields
from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.identity import BlueprintDigest, BuildKey
from morph_kernels.reasons import Reason

DTYPES = frozenset(
    {"float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"},
)
DEVICES = frozenset({"cpu", "cuda"})
MODES = frozenset({"train"})
# Later levels contain earlier ones; a CUDA architecture contains only itself (the libraries hold machine code, no PTX).
CPU_LEVELS = ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4")
ISA_PATTERN = re.compile(r"x86-64(-v[234])?|sm_[0-9]{2,3}")
VERSION_PATTERN = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){0,3}")
TORCH_PATTERN = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){1,2}((a|b|rc|\.dev)[0-9]{1,10})?")
SYMBOL_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")
TOOL_PATTERN = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,399}")
Ranges = Mapping[str, tuple[int, int]]
_MAX_SYMBOLS = 64
_MAX_SIZE = 2**40


@dataclass(frozen=True)
class Target:
    """What one kernel can run on.

    `glibc` and `libstdcxx` are floors: the newest symbol versions that the libraries ask for ("2.29", "3.4.26").
    `torch` is what it was built with; what it may run under is said by verification summaries.
    `ranges` are the sizes, both ends included, that the build was asked to cover for each symbol; those it does cover
    stand in the calling convention.
    """

    device: str
    isa: str
    dtype: str
    mode: str
    ranges: Ranges = field(hash=False)
    torch: str
    glibc: str
    libstdcxx: str

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object that stands in manifests, indexes and build keys."""
        return {
            "device": self.device,
            "dtype": self.dtype,
            "glibc": self.glibc,
            "isa": self.isa,
            "libstdcxx": self.libstdcxx,
            "mode": self.mode,
            "ranges": {symbol: [low, high] for symbol, (low, high) in self.ranges.items()},
            "torch": self.torch,
        }

    @classmethod
    def from_document(cls, document: Any) -> "Target":
        """Read the object that `to_document` writes.

        Raises:
            MalformedError: a field is missing, unknown or has a value that no target has.
        """
        fields = Fields(document, what="target")
        target = cls(
            device=fields.choice("device", DEVICES),
            isa=fields.text("isa", ISA_PATTERN),
            dtype=fields.choice("dtype", DTYPES),
            mode=fields.choice("mode", MODES),
            ranges=parse_ranges(fields),
            torch=fields.text("torch", TORCH_PATTERN),
            glibc=fields.text("glibc", VERSION_PATTERN),
            libstdcxx=fields.text("libstdcxx", VERSION_PATTERN),
        )
        fields.close()
        if (target.device == "cpu") != (target.isa in CPU_LEVELS):
            fields.refuse("isa")
        return target


@dataclass(frozen=True)
class Runtime:
    """What a process can run: `isa` is the highest level of the host, `torch` has no local part ("2.13.0")."""

    device: str
    isa: str
    torch: str
    glibc: str
    libstdcxx: str

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object that stands in verification summaries."""
        return {
            "device": self.device,
            "glibc": self.glibc,
            "isa": self.isa,
            "libstdcxx": self.libstdcxx,
            "torch": self.torch,
        }

    @classmethod
    def from_document(cls, document: Any) -> "Runtime":
        """Read the object that `to_document` writes.

        Raises:
            MalformedError: a field is missing, unknown or has a value that no runtime has.
        """
        fields = Fields(document, what="runtime")
        runtime = cls(
            device=fields.choice("device", DEVICES),
            isa=fields.text("isa", ISA_PATTERN),
            torch=fields.text("torch", TORCH_PATTERN),
            glibc=fields.text("glibc", VERSION_PATTERN),
            libstdcxx=fields.text("libstdcxx", VERSION_PATTERN),
        )
        fields.close()
        return runtime


def incompatibility(target: Target, runtime: Runtime) -> Reason | None:
    """Return why code for the target would not run here, or None.

    The torch version is not judged: which ones a kernel may run under is validated, not assumed.
    """
    if target.device != runtime.device:
        return Reason.WRONG_DEVICE
    if not isa_covers(runtime.isa, target.isa):
        return Reason.WRONG_ISA
    # ISA before libc: a foreign instruction kills the process, a missing symbol only fails the load.
    if _version(runtime.glibc) < _version(target.glibc) or _version(runtime.libstdcxx) < _version(target.libstdcxx):
        return Reason.WRONG_LIBC
    return None


def isa_covers(host: str, wanted: str) -> bool:
    """Return whether a host of one level runs code of another."""
    if host in CPU_LEVELS and wanted in CPU_LEVELS:
        return CPU_LEVELS.index(host) >= CPU_LEVELS.index(wanted)
    return host == wanted


def build_key(
    blueprint_digest: BlueprintDigest, target: Target, *, toolchain: str, pipeline: str, recipe_version: int
) -> BuildKey:
    """Return what leases, memoisation and build requests name: equal keys mean the same build."""
    document = {
        "blueprint_digest": blueprint_digest,
        "pipeline": pipeline,
        "recipe_version": recipe_version,
        "target": target.to_document(),
        "toolchain": toolchain,
    }
    return BuildKey(sha256_hex(canonical_bytes(document)))


@lru_cache(maxsize=256)
def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split("."))


def parse_ranges(fields: Fields) -> dict[str, tuple[int, int]]:
    """Read the field `ranges`: for each symbol the least and the greatest size."""
    document = fields.take("ranges")
    if not isinstance(document, dict) or len(document) > _MAX_SYMBOLS:
        fields.refuse("ranges")
    ranges = {}
    for symbol, bounds in document.items():
        if not SYMBOL_PATTERN.fullmatch(symbol) or not isinstance(bounds, list):
            fields.refuse("ranges")
        if [type(bound) for bound in bounds] != [int, int] or not 0 <= bounds[0] <= bounds[1] <= _MAX_SIZE:
            fields.refuse("ranges")
        ranges[symbol] = (bounds[0], bounds[1])
    return ranges


def current_runtime() -> Runtime:
    """Return what this process can run on the processor; read once, without importing torch."""
    from morph_kernels.artifact.host import current_runtime as read

    return read()
