"""The manifest of one kernel: what it is, what it was built from and for, and the digests of its libraries."""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

from morph_kernels.artifact.convention import CallingConvention, InputRule, OutputRule, SavedRule
from morph_kernels.artifact.document import Fields, MalformedError, parse_document
from morph_kernels.artifact.target import TOOL_PATTERN, Target, build_key
from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.identity import NAME_PATTERN, BlobDigest, BlueprintDigest, BuildKey, KernelDigest

__all__ = [
    "FORMAT_VERSION",
    "MAX_LIBRARY_BYTES",
    "MAX_MANIFEST_BYTES",
    "CallingConvention",
    "InputRule",
    "KernelManifest",
    "Library",
    "LibraryRole",
    "MalformedError",
    "OutputRule",
    "SavedRule",
    "parse_manifest",
]

FORMAT_VERSION = 1
MAX_MANIFEST_BYTES = 1024 * 1024
MAX_LIBRARY_BYTES = 256 * 1024 * 1024
LibraryRole = Literal["forward", "backward"]
_ROLES: tuple[tuple[LibraryRole, ...], ...] = (("forward", "backward"), ("forward",))
_NAME = re.compile(NAME_PATTERN)


@dataclass(frozen=True)
class Library:
    """One shared object, by content."""

    role: LibraryRole
    digest: BlobDigest
    size_bytes: int

    def to_document(self) -> dict[str, Any]:
        """Return the JSON object that stands in the manifest."""
        return {"digest": self.digest, "role": self.role, "size_bytes": self.size_bytes}

    @classmethod
    def from_document(cls, document: Any) -> "Library":
        """Read the object that `to_document` writes, or raise `MalformedError`."""
        fields = Fields(document, what="manifest library")
        library = cls(
            role=cast("LibraryRole", fields.choice("role", frozenset({"forward", "backward"}))),
            digest=BlobDigest(fields.digest("digest")),
            size_bytes=fields.integer("size_bytes", low=1, high=MAX_LIBRARY_BYTES),
        )
        fields.close()
        return library


@dataclass(frozen=True)
class KernelManifest:
    """Everything that makes a kernel this kernel; its digest is the sha256 of its canonical bytes."""

    blueprint_digest: BlueprintDigest
    build_key: BuildKey
    target: Target
    toolchain: str
    pipeline: str
    recipe_version: int
    convention: CallingConvention
    libraries: tuple[Library, ...]
    format_version: int = FORMAT_VERSION

    @cached_property
    def digest(self) -> KernelDigest:
        """The kernel's digest."""
        return KernelDigest(sha256_hex(self.to_bytes()))

    def to_bytes(self) -> bytes:
        """Return the canonical bytes that the digest covers.

        Raises:
            MalformedError: a field has a value that `parse_manifest` would refuse, so nobody could ever load it.
        """
        data = canonical_bytes(
            {
                "blueprint_digest": self.blueprint_digest,
                "build_key": self.build_key,
                "convention": self.convention.to_document(),
                "format_version": self.format_version,
                "libraries": [library.to_document() for library in self.libraries],
                "pipeline": self.pipeline,
                "recipe_version": self.recipe_version,
                "target": self.target.to_document(),
                "toolchain": self.toolchain,
            }
        )
        parse_manifest(data)
        return data


def parse_manifest(data: bytes | memoryview) -> KernelManifest:
    """Read the bytes of a manifest that nobody vouches for yet.

    Raises:
        MalformedError: too large, not canonical, a field missing, unknown or wrong, a build key that does not follow
            from what was built, or libraries other than forward and backward in this order (or forward alone).
    """
    fields = Fields(parse_document(data, what="manifest", max_bytes=MAX_MANIFEST_BYTES), what="manifest")
    fields.equal("format_version", FORMAT_VERSION)
    manifest = KernelManifest(
        blueprint_digest=BlueprintDigest(fields.digest("blueprint_digest")),
        build_key=BuildKey(fields.digest("build_key")),
        target=Target.from_document(fields.take("target")),
        toolchain=fields.text("toolchain", TOOL_PATTERN),
        pipeline=fields.text("pipeline", _NAME),
        recipe_version=fields.integer("recipe_version", low=1, high=1_000_000),
        convention=CallingConvention.from_document(fields.take("convention")),
        libraries=fields.items("libraries", Library.from_document, max_items=2),
    )
    fields.close()
    if tuple(library.role for library in manifest.libraries) not in _ROLES:
        fields.refuse("libraries")
    if manifest.build_key != _expected_build_key(manifest):
        fields.refuse("build_key")
    # The bytes are canonical, so this is what `digest` would compute, without encoding them a third time.
    vars(manifest)["digest"] = KernelDigest(sha256_hex(data))
    return manifest


def _expected_build_key(manifest: KernelManifest) -> BuildKey:
    return build_key(
        manifest.blueprint_digest,
        manifest.target,
        toolchain=manifest.toolchain,
        pipeline=manifest.pipeline,
        recipe_version=manifest.recipe_version,
    )
