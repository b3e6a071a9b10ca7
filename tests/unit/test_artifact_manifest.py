import json

import pytest

from morph_kernels.artifact.document import MalformedError
from morph_kernels.artifact.manifest import MAX_MANIFEST_BYTES, parse_manifest
from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.reasons import Reason
from tests.support.artifacts import make_manifest

MANIFEST = make_manifest()
DOCUMENT = json.loads(MANIFEST.to_bytes())


def changed(path, value):
    document = json.loads(MANIFEST.to_bytes())
    *parents, last = path
    place = document
    for step in parents:
        place = place[step]
    place[last] = value
    return canonical_bytes(document)


def test_a_manifest_comes_back_from_its_bytes():
    parsed = parse_manifest(MANIFEST.to_bytes())
    assert parsed == MANIFEST
    assert parsed.to_bytes() == MANIFEST.to_bytes()


def test_the_digest_is_the_sha256_of_the_bytes():
    data = MANIFEST.to_bytes()
    assert MANIFEST.digest == parse_manifest(data).digest == sha256_hex(data)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["format_version"], 2),
        (["format_version"], True),
        (["blueprint_digest"], "A" * 64),
        (["build_key"], "0" * 64),
        (["recipe_version"], 2),
        (["toolchain"], "g++ 12.2.1"),
        (["toolchain"], "g++\n"),
        (["pipeline"], "Standard"),
        (["extra"], 1),
        (["libraries"], []),
        (["libraries"], [DOCUMENT["libraries"][1]]),
        (["libraries"], [DOCUMENT["libraries"][0]] * 2),
        (["libraries"], DOCUMENT["libraries"][::-1]),
        (["libraries", 0, "role"], "sideways"),
        (["libraries", 0, "size_bytes"], 0),
        (["libraries", 0, "size_bytes"], 2**40),
        (["libraries", 0, "digest"], "../../etc/passwd"),
        (["convention", "parameters"], ["up.weight", "up.weight"]),
        (["convention", "parameters"], "up.weight"),
        (["convention", "parameters"], ["up weight"]),
        (["convention", "mutated_buffers"], ["up.weight"]),
        (["convention", "gradients"], ["x"]),
        (["convention", "gradients"], [4]),
        (["convention", "gradients"], [1, 1]),
        (["convention", "watched"], [4]),
        (["convention", "saved", 0, "index"], 4),
        (["convention", "saved", 0, "source"], "elsewhere"),
        (["convention", "ranges"], {"batch": [2, 1]}),
        (["convention", "forward_outputs"], 0),
        (["convention", "outputs"], []),
        (["convention", "inputs", 0, "shape"], ["__import__('os')"]),
        (["convention", "inputs", 0, "shape"], [-1]),
        (["convention", "inputs", 0, "shape"], [True]),
        (["convention", "inputs", 0, "shape"], [1] * 17),
        (["convention", "inputs", 0, "dtype"], "object"),
        (["convention", "outputs", 0, "requires_grad"], 1),
        (["convention", "extra"], []),
        (["target"], None),
    ],
)
def test_a_manifest_with_one_wrong_field_is_malformed(path, value):
    with pytest.raises(MalformedError) as caught:
        parse_manifest(changed(path, value))
    assert caught.value.reason is Reason.MALFORMED


@pytest.mark.parametrize("key", sorted(DOCUMENT))
def test_a_manifest_without_one_of_its_fields_is_malformed(key):
    document = {name: value for name, value in DOCUMENT.items() if name != key}
    with pytest.raises(MalformedError, match=key):
        parse_manifest(canonical_bytes(document))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e2}',
        b'{"a":NaN}',
        b'{"a":-0}',
        b'{"a":"\\ud800"}',
        b'{"a":9007199254740993}',
        b'{"a":' + b"9" * 5000 + b"}",
        b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        MANIFEST.to_bytes() + b"\n",
        b" " + MANIFEST.to_bytes(),
        MANIFEST.to_bytes()[:-1],
        json.dumps(DOCUMENT).encode(),
    ],
    ids=lambda data: data[:12].decode("latin-1"),
)
def test_bytes_that_are_not_one_canonical_object_are_malformed(data):
    with pytest.raises(MalformedError):
        parse_manifest(data)


def test_a_manifest_that_is_too_large_is_refused_before_it_is_parsed():
    with pytest.raises(MalformedError) as caught:
        parse_manifest(b"{" * (MAX_MANIFEST_BYTES + 1))
    assert caught.value.reason is Reason.TOO_LARGE


def test_a_manifest_that_nobody_could_load_is_never_written():
    with pytest.raises(MalformedError, match="toolchain"):
        make_manifest().__class__(**{**vars_of(MANIFEST), "toolchain": ""}).to_bytes()


def vars_of(manifest):
    return {name: getattr(manifest, name) for name in manifest.__dataclass_fields__}
