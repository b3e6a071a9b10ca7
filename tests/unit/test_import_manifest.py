"""The manifest of an import: lines of canonical JSON that come back as what they were."""

import json

import pytest

from morph_assets.registry.import_batch import ImportBatch
from morph_assets.registry.import_manifest import (
    MalformedManifestError,
    encode_batch,
    iter_lines,
    iter_parsed,
    parse_batch,
)
from morph_kernels.canonical import canonical_bytes
from tests.support.imported import imported_batch, imported_kernel, imported_release, imported_report


def test_a_batch_comes_back_from_its_manifest():
    batch = ImportBatch(
        (imported_release(tags=("deep",), parents=("0" * 64,)), imported_release("zwei", "zwei", author="Zoë")),
        (imported_kernel(), imported_kernel("b", report=None)),
    )
    assert parse_batch(encode_batch(batch)) == batch


def test_a_manifest_of_any_length_is_read_line_by_line():
    batch = imported_batch(3)
    added = (*batch.releases, *batch.kernels)
    assert tuple(iter_parsed(iter_lines(added))) == added


def changed(**facts):
    header, line = encode_batch(ImportBatch((), (imported_kernel(),))).splitlines()
    return header + b"\n" + canonical_bytes(json.loads(line) | facts) + b"\n"


@pytest.mark.parametrize(
    ("manifest", "line"),
    [
        (b"", 1),
        (b"\n", 1),
        (b"{}\n", 1),
        (encode_batch(imported_batch(1))[:-1], 1),
        (encode_batch(imported_batch(1)).replace(b'"format":1', b'"format":2'), 1),
        (encode_batch(imported_batch(1)).replace(b'{"author"', b'{ "author"'), 2),
        (encode_batch(imported_batch(1)).replace(b'"author":"ada"', b'"author":"ada","author":"eve"'), 2),
        (encode_batch(imported_batch(1)).replace(b"kernel", b"colonel"), 3),
        (encode_batch(imported_batch(1)) + b"[" * 100_000 + b"\n", 4),
        (encode_batch(imported_batch(1)) + b"\xff\n", 4),
        (encode_batch(imported_batch(1)) * 2, 4),
        (changed(extra=1), 2),
        (changed(digest="x"), 2),
        (changed(size_bytes=-1), 2),
        (changed(size_bytes=True), 2),
        (changed(size_bytes="1"), 2),
        (changed(target=[]), 2),
        (changed(provenance="%%%"), 2),
        (changed(report=[]), 2),
        (changed(report={"report_id": "x"}), 2),
    ],
)
def test_what_is_no_manifest_is_refused_by_its_line(manifest, line):
    with pytest.raises(MalformedManifestError, match=f"line {line} "):
        parse_batch(manifest)


@pytest.mark.parametrize("value", ["nan", "inf", "x", "", "1e999"])
def test_a_measurement_is_a_finite_number(value):
    manifest = encode_batch(imported_batch(1)).replace(b'"52.5"', json.dumps(value).encode())
    with pytest.raises(MalformedManifestError, match="line 3"):
        parse_batch(manifest)


def test_too_many_lines_are_no_batch():
    with pytest.raises(MalformedManifestError, match="too large"):
        parse_batch(b"{}\n" * 5003)


def test_a_report_keeps_numbers_to_the_last_bit():
    report = imported_report("x")
    number = 0.1 + 0.2
    exact = imported_report("x", measurements=(report.measurements[0].__class__("latency_us", number, "us"),))
    (kernel,) = parse_batch(encode_batch(ImportBatch((), (imported_kernel(report=exact),)))).kernels
    assert kernel.report is not None
    assert kernel.report.measurements[0].value == number
