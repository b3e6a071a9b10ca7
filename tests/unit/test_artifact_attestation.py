import copy
import json
from datetime import timedelta

import pytest

from morph_kernels.artifact.attestation import (
    parse_provenance,
    parse_verification_summary,
)
from morph_kernels.artifact.document import MalformedError
from morph_kernels.canonical import canonical_bytes
from morph_kernels.identity import BlobDigest
from tests.support.artifacts import RUNTIME, make_manifest
from tests.support.signing import NOW, POLICY, make_provenance, make_summary

MANIFEST = make_manifest()
BUILT = make_provenance(MANIFEST, tenant="acme")
PASSED = make_summary(MANIFEST, BlobDigest("a" * 64), tenant="acme")
CASES = [(BUILT, parse_provenance), (PASSED, parse_verification_summary)]


def places(value, path=()):
    """Yield the path of every field and item of a document."""
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in entries:
        yield (*path, key)
        yield from places(inner, (*path, key))


def at(document, path):
    for step in path:
        document = document[step]
    return document


def every_place():
    for statement, parse in CASES:
        for path in places(statement):
            yield pytest.param(statement, parse, path, id=".".join(map(str, path)))


def test_both_statements_come_back_with_their_facts():
    built = parse_provenance(json.loads(canonical_bytes(BUILT)))
    assert (built.manifest_digest, built.tenant, built.build_key) == (MANIFEST.digest, "acme", MANIFEST.build_key)
    assert (built.isolation, built.started_at, built.finished_at) == ("bubblewrap", NOW - timedelta(seconds=40), NOW)
    passed = parse_verification_summary(json.loads(canonical_bytes(PASSED)))
    assert (passed.manifest_digest, passed.provenance_digests) == (MANIFEST.digest, (BlobDigest("a" * 64),))
    assert (passed.runtime, passed.policy, passed.result, passed.verified_at) == (RUNTIME, POLICY, "PASSED", NOW)


def test_both_are_in_toto_statements_about_the_manifest_that_other_tools_can_read():
    for statement, kind in [(BUILT, "provenance"), (PASSED, "verification_summary")]:
        assert statement["_type"] == "https://in-toto.io/Statement/v1"
        assert statement["predicateType"] == f"https://slsa.dev/{kind}/v1"
        assert statement["subject"] == [{"name": "kernel-manifest", "digest": {"sha256": MANIFEST.digest}}]


@pytest.mark.parametrize(("statement", "parse", "path"), list(every_place()))
def test_a_statement_without_any_one_of_its_parts_is_malformed(statement, parse, path):
    document = copy.deepcopy(statement)
    parent = at(document, path[:-1])
    del parent[path[-1]]
    if path == ("predicate", "inputAttestations", 0):
        # A verdict about no provenance is a statement; it fits no kernel.
        assert parse(document).provenance_digests == ()
        return
    with pytest.raises(MalformedError):
        parse(document)


@pytest.mark.parametrize(("statement", "parse", "path"), list(every_place()))
@pytest.mark.parametrize("value", [None, 1, "\n", {}, ["x"], {"x": 1}], ids=repr)
def test_a_statement_with_any_one_part_replaced_is_malformed(statement, parse, path, value):
    document = copy.deepcopy(statement)
    at(document, path[:-1])[path[-1]] = value
    with pytest.raises(MalformedError):
        parse(document)


@pytest.mark.parametrize(("statement", "parse", "path"), list(every_place()))
def test_a_statement_with_something_more_in_any_object_is_malformed(statement, parse, path):
    document = copy.deepcopy(statement)
    inner = at(document, path)
    if isinstance(inner, dict):
        inner["extra"] = 1
    elif isinstance(inner, list):
        inner.append({"digest": {"sha256": "x"}})
    else:
        at(document, path[:-1])[path[-1]] = f"{inner}\n"
    with pytest.raises(MalformedError):
        parse(document)


def test_one_kind_of_statement_is_not_read_as_the_other():
    with pytest.raises(MalformedError):
        parse_provenance(PASSED)
    with pytest.raises(MalformedError):
        parse_verification_summary(BUILT)
