"""The manifest of a bulk import: what a batch adds, as lines of canonical JSON. Pure: bytes in, records out.

A manifest is UTF-8; every line is one RFC 8785 document and ends with a line feed. The first is
`{"format":1,"kind":"manifest"}`; each other one is a release or a kernel, releases before the kernels that need them:

    {"kind": "blueprint", "name", "document", "tags": [...], "author", "parents": [digest, ...]}
    {"kind": "kernel", "digest", "blueprint_digest", "build_key", "target": {...}, "toolchain", "pipeline",
     "recipe_version", "size_bytes", "bundle_digest", "bundle_key", "bundle_bytes", "provenance", "report"}

`document` is the blueprint's canonical bytes, `provenance` the compiler's signed envelope, both in base64. `report` is
null for a kernel nobody judged (it becomes COMPILED), else the passing report that makes it VALIDATED:

    {"report_id", "suite", "body", "torch", "device", "isa", "tags": [...], "attestation",
     "measurements": [{"metric", "shape_class", "hardware", "value", "unit"}, ...]}

`body` is the report and `attestation` the evaluator's signed envelope, in base64; a `value` is the shortest text of a
number, because canonical documents here hold no fractions. `registry/migrations/sql/current/49_imports.sql` expands a
manifest into rows, `registry/replay/imports.py` repeats that. A batch holds at most 5,000 lines and 32 MiB.
"""

import base64
import binascii
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from uuid import UUID

from morph_assets.registry.errors import InvalidRecordError
from morph_assets.registry.evaluations import Measurement
from morph_assets.registry.import_batch import ImportBatch, ImportedKernel, ImportedRelease, ImportedReport
from morph_kernels.canonical import canonical_bytes, is_canonical
from morph_kernels.identity import (
    BlobDigest,
    BlueprintDigest,
    BuildKey,
    KernelDigest,
    ObjectKey,
    is_digest,
    parse_name,
)

MAX_BATCH_BYTES: Final = 32 * 1024 * 1024
MAX_BATCH_LINES: Final = 5000
MAX_LINE_BYTES: Final = 16 * 1024 * 1024
_HEADER: Final = {"format": 1, "kind": "manifest"}


class MalformedManifestError(InvalidRecordError):
    """This is no manifest of an import; the message names the line."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line} of the manifest: {problem}")


def encode_batch(batch: ImportBatch) -> bytes:
    """Return the manifest of a batch: one batch, one sequence of bytes."""
    return b"".join(iter_lines((*batch.releases, *batch.kernels)))


def iter_lines(added: Iterable[ImportedRelease | ImportedKernel]) -> Iterator[bytes]:
    """Yield the lines of a manifest of any length, header first."""
    yield canonical_bytes(_HEADER) + b"\n"
    for item in added:
        yield canonical_bytes(_release(item) if isinstance(item, ImportedRelease) else _kernel(item)) + b"\n"


def parse_batch(data: bytes) -> ImportBatch:
    """Return what a manifest adds.

    Raises:
        MalformedManifestError: it is none, or too large for one batch.
    """
    if len(data) > MAX_BATCH_BYTES or data.count(b"\n") > MAX_BATCH_LINES + 1:
        raise MalformedManifestError(1, "this batch is too large")
    if not data.endswith(b"\n"):
        raise MalformedManifestError(1, "it does not end with a line feed")
    added = list(iter_parsed(data.split(b"\n")[:-1]))
    return ImportBatch(
        tuple(item for item in added if isinstance(item, ImportedRelease)),
        tuple(item for item in added if isinstance(item, ImportedKernel)),
    )


def iter_parsed(lines: Iterable[bytes]) -> Iterator[ImportedRelease | ImportedKernel]:
    """Yield what the lines of a manifest of any length add, one by one.

    Raises:
        MalformedManifestError: it is no manifest; the first bad line is named.
    """
    number = 0
    for number, line in enumerate(lines, start=1):
        document = _open(number, line.removesuffix(b"\n"))
        try:
            if number == 1:
                if document != _HEADER:
                    raise ValueError("a manifest of format 1 begins otherwise")  # noqa: TRY301 - one place says where
                continue
            yield _parse(document)
        except (KeyError, TypeError, ValueError, AttributeError, InvalidRecordError) as error:
            raise MalformedManifestError(number, f"{type(error).__name__}: {error}") from error
    if number == 0:
        raise MalformedManifestError(1, "it is empty")


def _open(number: int, line: bytes) -> dict[str, Any]:
    if len(line) > MAX_LINE_BYTES:
        raise MalformedManifestError(number, f"{len(line)} bytes are too many")
    try:
        document = json.loads(line)
        if isinstance(document, dict) and is_canonical(line, document):
            return document
    except (ValueError, RecursionError, ArithmeticError) as error:
        raise MalformedManifestError(number, f"no canonical JSON: {error}") from error
    raise MalformedManifestError(number, "no canonical JSON object")


def _parse(document: dict[str, Any]) -> ImportedRelease | ImportedKernel:
    kind = document.pop("kind")
    if kind == "blueprint":
        return _parse_release(document)
    if kind == "kernel":
        return _parse_kernel(document)
    raise ValueError(f"{kind!r} is neither a blueprint nor a kernel")


def _parse_release(told: dict[str, Any]) -> ImportedRelease:
    release = ImportedRelease(
        name=parse_name(told.pop("name")),
        document=_bytes(told, "document"),
        tags=_texts(told, "tags"),
        author=_text(told, "author"),
        parents=tuple(BlueprintDigest(_digest(parent)) for parent in _texts(told, "parents")),
    )
    _require_empty(told)
    return release


def _parse_kernel(told: dict[str, Any]) -> ImportedKernel:
    report, target = told.pop("report"), told.pop("target")
    if not isinstance(target, dict):
        raise TypeError("target is no object")
    kernel = ImportedKernel(
        digest=KernelDigest(_digest(told.pop("digest"))),
        blueprint_digest=BlueprintDigest(_digest(told.pop("blueprint_digest"))),
        build_key=BuildKey(_digest(told.pop("build_key"))),
        target=target,
        toolchain=_text(told, "toolchain"),
        pipeline=_text(told, "pipeline"),
        recipe_version=_count(told, "recipe_version"),
        size_bytes=_count(told, "size_bytes"),
        bundle_digest=BlobDigest(_digest(told.pop("bundle_digest"))),
        bundle_key=ObjectKey(_text(told, "bundle_key")),
        bundle_bytes=_count(told, "bundle_bytes"),
        provenance=_bytes(told, "provenance"),
        report=None if report is None else _parse_report(dict(report)),
    )
    _require_empty(told)
    return kernel


def _parse_report(told: dict[str, Any]) -> ImportedReport:
    report = ImportedReport(
        report_id=UUID(_text(told, "report_id")),
        suite=_text(told, "suite"),
        body=_bytes(told, "body"),
        torch=_text(told, "torch"),
        device=_text(told, "device"),
        isa=_text(told, "isa"),
        attestation=_bytes(told, "attestation"),
        measurements=tuple(_parse_measurement(dict(measured)) for measured in told.pop("measurements")),
        tags=_texts(told, "tags"),
    )
    _require_empty(told)
    return report


def _parse_measurement(told: dict[str, Any]) -> Measurement:
    value = float(_text(told, "value"))
    if not math.isfinite(value):
        raise ValueError(f"a measurement is a number, not {value}")
    named = {name: _text(told, name) for name in ("metric", "unit", "shape_class", "hardware")}
    _require_empty(told)
    return Measurement(value=value, **named)


def _release(release: ImportedRelease) -> dict[str, Any]:
    return {
        "kind": "blueprint",
        "name": release.name,
        "document": _base64(release.document),
        "tags": list(release.tags),
        "author": release.author,
        "parents": list(release.parents),
    }


def _kernel(kernel: ImportedKernel) -> dict[str, Any]:
    plain = ("digest", "blueprint_digest", "build_key", "toolchain", "pipeline", "recipe_version", "size_bytes")
    return {
        "kind": "kernel",
        **{name: getattr(kernel, name) for name in (*plain, "bundle_digest", "bundle_key", "bundle_bytes")},
        "target": dict(kernel.target),
        "provenance": _base64(kernel.provenance),
        "report": None if kernel.report is None else _report(kernel.report),
    }


def _report(report: ImportedReport) -> dict[str, Any]:
    return {
        **{name: getattr(report, name) for name in ("suite", "torch", "device", "isa")},
        "report_id": str(report.report_id),
        "body": _base64(report.body),
        "attestation": _base64(report.attestation),
        "tags": list(report.tags),
        "measurements": [
            {
                **{name: getattr(measured, name) for name in ("metric", "shape_class", "hardware", "unit")},
                "value": repr(float(measured.value)),
            }
            for measured in report.measurements
        ],
    }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _bytes(told: dict[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(_text(told, name), validate=True)
    except binascii.Error as error:
        raise ValueError(f"{name} is no base64: {error}") from error


def _text(told: dict[str, Any], name: str) -> str:
    value = told.pop(name)
    if not isinstance(value, str):
        raise TypeError(f"{name} is no text")
    return value


def _texts(told: dict[str, Any], name: str) -> tuple[str, ...]:
    values = told.pop(name)
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{name} is no list of texts")
    return tuple(values)


def _count(told: dict[str, Any], name: str) -> int:
    value = told.pop(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{name} is no count")
    return value


def _digest(value: object) -> str:
    if not isinstance(value, str) or not is_digest(value):
        raise ValueError(f"{str(value)[:80]!r} is no digest")
    return value


def _require_empty(told: Mapping[str, Any]) -> None:
    if told:
        raise ValueError(f"{sorted(told)} are not known here")
