"""Batches for bulk imports, made of facts that stand for something."""

from uuid import NAMESPACE_URL, uuid5

from morph_assets.registry.evaluations import Measurement
from morph_assets.registry.import_batch import ImportBatch, ImportedKernel, ImportedRelease, ImportedReport
from morph_kernels.canonical import canonical_bytes
from morph_kernels.identity import BlobDigest, BuildKey, KernelDigest, ObjectKey
from tests.support.registry import TARGET, digest_of, document_of

MEASUREMENTS = (
    Measurement("latency_us", 52.5, "us", hardware="amd-epyc"),
    Measurement("step_us", 41.25, "us", shape_class="batch=8/threads=1", hardware="amd-epyc"),
    Measurement("speed_ratio", 1.8, "1"),
    Measurement("memory_bytes", 812_000.0, "B"),
    Measurement("risk", 0.125, "1"),
)


def imported_release(name: str = "imported", text: str = "imported", **changes) -> ImportedRelease:
    """A release of a blueprint."""
    return ImportedRelease(**({"name": name, "document": document_of(text)[1], "author": "ada"} | changes))


def imported_report(text: str, **changes) -> ImportedReport:
    """A passing report."""
    facts = {
        "report_id": uuid5(NAMESPACE_URL, text),
        "suite": "numerics",
        "body": canonical_bytes({"of": text}),
        "torch": "2.13.0",
        "device": "cpu",
        "isa": "x86-64-v3",
        "attestation": f"verification of {text}".encode(),
        "measurements": MEASUREMENTS,
        "tags": ("mlp", "fast"),
    }
    return ImportedReport(**(facts | changes))


def imported_kernel(text: str = "kernel", blueprint: str = "imported", **changes) -> ImportedKernel:
    """A validated kernel of a blueprint."""
    facts = {
        "digest": KernelDigest(digest_of(f"{blueprint} {text}")),
        "blueprint_digest": document_of(blueprint)[0],
        "build_key": BuildKey(digest_of(f"{blueprint} {text} key")),
        "target": TARGET,
        "toolchain": "g++ 12.2.0",
        "pipeline": "standard",
        "recipe_version": 1,
        "size_bytes": 700_000,
        "bundle_digest": BlobDigest(digest_of(f"{blueprint} {text} bundle")),
        "bundle_key": ObjectKey(f"tenants/t/bundles/{digest_of(text)}"),
        "bundle_bytes": 220_000,
        "provenance": f"provenance of {text}".encode(),
        "report": imported_report(f"{blueprint} {text}"),
    }
    return ImportedKernel(**(facts | changes))


def imported_batch(count: int = 3, *, text: str = "kernel") -> ImportBatch:
    """A blueprint with so many kernels."""
    return ImportBatch((imported_release(),), tuple(imported_kernel(f"{text} {number}") for number in range(count)))
