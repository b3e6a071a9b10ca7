"""A run plan: what a job will load, resolved once, so that later loads need no server."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from morph_kernels.artifact.document import Fields, format_time, parse_document
from morph_kernels.artifact.index import Variant
from morph_kernels.blueprint import Blueprint
from morph_kernels.canonical import canonical_bytes
from morph_kernels.identity import NAME_PATTERN, BlueprintRef, parse_ref

_FORMAT = 1
MAX_PLAN_BYTES = 64 * 1024 * 1024
_REF = re.compile(rf"{NAME_PATTERN}(@{NAME_PATTERN})?")
_TEXT = re.compile(r"[\s\S]{1,4194304}")


@dataclass(frozen=True)
class PlannedKernel:
    """One ref, resolved: the blueprint itself and its kernels with the words of those who vouch for them.

    After `expires_at` the kernels are loaded only by a newer index: a revocation may have been missed.
    """

    ref: BlueprintRef
    blueprint: Blueprint
    variants: tuple[Variant, ...]
    expires_at: datetime


@dataclass(frozen=True)
class RunPlan:
    """What a job will load, by ref. Data only; its kernels are verified at load like any others."""

    kernels: Mapping[BlueprintRef, PlannedKernel]

    def to_bytes(self) -> bytes:
        """Return the plan as a file can hold it."""
        return canonical_bytes(
            {"format": _FORMAT, "kernels": [_to_document(kernel) for kernel in self.kernels.values()]}
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> "RunPlan":
        """Read what `to_bytes` wrote.

        Raises:
            MalformedError: it is not a plan.
            BlueprintError: a blueprint in it is none.
        """
        fields = Fields(parse_document(data, what="run plan", max_bytes=MAX_PLAN_BYTES), what="run plan")
        fields.equal("format", _FORMAT)
        kernels = fields.items("kernels", _from_document, max_items=10_000)
        fields.close()
        return cls({kernel.ref: kernel for kernel in kernels})


def _to_document(kernel: PlannedKernel) -> dict[str, Any]:
    return {
        "blueprint": kernel.blueprint.to_bytes().decode("utf-8"),
        "expires_at": format_time(kernel.expires_at),
        "ref": str(kernel.ref),
        "variants": [variant.to_document() for variant in kernel.variants],
    }


def _from_document(document: Any) -> PlannedKernel:
    fields = Fields(document, what="planned kernel")
    ref = parse_ref(fields.text("ref", _REF))
    kernel = PlannedKernel(
        ref=ref,
        blueprint=Blueprint.from_bytes(fields.text("blueprint", _TEXT).encode("utf-8"), name=ref.name),
        variants=fields.items("variants", Variant.from_document, max_items=10_000),
        expires_at=fields.time("expires_at"),
    )
    fields.close()
    if any(variant.blueprint_digest != kernel.blueprint.digest for variant in kernel.variants):
        fields.refuse("variants")
    return kernel
