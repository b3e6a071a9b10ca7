import json

from hypothesis import given
from hypothesis import strategies as st

from morph_kernels.artifact.bundle import decode_bundle, encode_bundle
from morph_kernels.artifact.document import MalformedError, parse_document
from morph_kernels.artifact.manifest import parse_manifest
from morph_kernels.canonical import canonical_bytes
from tests.support.artifacts import make_bundle, make_manifest

MANIFEST = make_manifest()
STORED = encode_bundle(make_bundle())

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)


documents = st.dictionaries(
    st.text(max_size=8),
    st.recursive(
        st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=10,
    ),
    max_size=5,
)


@given(documents)
def test_every_canonical_document_is_read_back(document):
    data = canonical_bytes(document)
    assert parse_document(data, what="x", max_bytes=10**6) == document


@given(documents, st.booleans(), st.sampled_from([None, 1]), st.booleans())
def test_only_the_canonical_form_of_a_document_is_read(document, ensure_ascii, indent, sort_keys):
    data = json.dumps(document, ensure_ascii=ensure_ascii, indent=indent, sort_keys=sort_keys).encode(errors="replace")
    try:
        parsed = parse_document(data, what="x", max_bytes=10**6)
    except MalformedError:
        return
    assert canonical_bytes(parsed) == data


def parses_or_is_malformed(data):
    try:
        return parse_manifest(data).to_bytes() == data
    except MalformedError:
        return True


@given(st.binary(max_size=300))
def test_any_bytes_are_a_manifest_or_malformed(data):
    assert parses_or_is_malformed(data)


@given(st.sampled_from(sorted(json.loads(MANIFEST.to_bytes()))), json_values)
def test_any_value_in_any_field_is_a_manifest_or_malformed(key, value):
    document = json.loads(MANIFEST.to_bytes())
    assert parses_or_is_malformed(json.dumps(document | {key: value}, separators=(",", ":"), sort_keys=True).encode())


@given(st.integers(0, len(MANIFEST.to_bytes()) - 1), st.integers(1, 255))
def test_a_manifest_with_a_changed_byte_is_malformed_or_another_kernel(place, flip):
    damaged = bytearray(MANIFEST.to_bytes())
    damaged[place] ^= flip
    try:
        parsed = parse_manifest(bytes(damaged))
    except MalformedError:
        return
    assert parsed.digest != MANIFEST.digest
    assert parsed.to_bytes() == bytes(damaged) == canonical_bytes(json.loads(bytes(damaged)))


@given(st.binary(max_size=200), st.integers(0, len(STORED)))
def test_any_bytes_are_a_bundle_or_malformed(noise, place):
    for data in (noise, STORED[:place] + noise, STORED[:place] + noise + STORED[place + len(noise) :]):
        try:
            decoded = decode_bundle(data, max_bytes=100_000)
        except MalformedError:
            continue
        assert decoded == make_bundle()
