from dataclasses import replace
from datetime import timedelta

import pytest

from morph_kernels.artifact.document import MalformedError
from morph_kernels.artifact.index import (
    MAX_INDEX_BYTES,
    IndexDocument,
    Variant,
    VerifiedIndex,
    compose_generation,
    parse_index,
    sign_index,
    split_generation,
    verify_index,
)
from morph_kernels.artifact.trust import Role
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import BlueprintDigest, KernelDigest
from morph_kernels.reasons import Reason
from tests.support.artifacts import TARGET, make_manifest
from tests.support.signing import NOW

BLUEPRINT = b'{"name":"\xc3\xa9"}'
DIGEST = BlueprintDigest(sha256_hex(BLUEPRINT))
GENERATION = compose_generation(3, 17)


def make_index(attestations=(), **changes):
    variant = Variant(make_manifest().digest, DIGEST, TARGET, 1_500_000, 1.25, tuple(attestations))
    facts = {
        "tenant": "default",
        "name": "ffn_gelu",
        "generation": GENERATION,
        "issued_at": NOW,
        "expires_at": NOW + timedelta(hours=1),
        "aliases": {"production": 2, "canary": 10},
        "releases": {2: (DIGEST, BLUEPRINT), 10: (DIGEST, BLUEPRINT)},
        "variants": (variant,),
        "revoked": frozenset({KernelDigest("d" * 64), KernelDigest("e" * 64)}),
    }
    return IndexDocument(**(facts | changes))


@pytest.fixture
def judge(signers):
    def run(index=None, *, data=None, **changes):
        arguments = {"trust": signers.trust, "tenant": "default", "name": "ffn_gelu", "now": NOW, "highest_seen": 0}
        data = sign_index(index or make_index(), signers.by_role[Role.PUBLISHER]) if data is None else data
        return verify_index(data, **(arguments | changes))

    return run


def reason_of(verdict):
    assert isinstance(verdict, Rejected), verdict
    return verdict.reason


def test_an_index_comes_back_from_its_signed_bytes(judge, signers):
    index = make_index(signers.attest(make_manifest()))
    assert judge(index) == VerifiedIndex(index, expired=False)


def test_the_newest_generation_may_be_seen_again_and_a_newer_one_follows(judge):
    assert isinstance(judge(highest_seen=GENERATION), VerifiedIndex)
    assert isinstance(judge(highest_seen=GENERATION - 1), VerifiedIndex)


def test_an_older_generation_than_one_seen_is_rolled_back(judge):
    assert reason_of(judge(highest_seen=GENERATION + 1)) is Reason.INDEX_ROLLED_BACK


def test_a_restored_registry_counts_upwards_from_its_new_timeline():
    assert compose_generation(1, 0) > compose_generation(0, 2**40 - 1)
    assert split_generation(compose_generation(5, 6)) == (5, 6)
    for timeline, counter in [(-1, 0), (0, -1), (0, 2**40), (2**13, 0)]:
        with pytest.raises(ValueError, match="no generation"):
            compose_generation(timeline, counter)


def test_an_expired_index_says_so_and_is_still_readable(judge):
    index = make_index()
    assert judge(now=index.expires_at) == VerifiedIndex(index, expired=True)
    assert judge(now=index.expires_at - timedelta(seconds=1)) == VerifiedIndex(index, expired=False)


def test_an_index_of_another_tenant_or_name_is_refused(judge):
    assert reason_of(judge(tenant="acme")) is Reason.WRONG_TENANT
    assert reason_of(judge(name="swiglu")) is Reason.ATTESTATION_MISMATCH


@pytest.mark.parametrize("role", [Role.COMPILER, Role.EVALUATOR, Role.AUDITOR])
def test_an_index_signed_by_another_role_is_refused(judge, signers, role):
    signer = replace_role(signers, role)
    assert reason_of(judge(data=sign_index(make_index(), signer))) is Reason.WRONG_ROLE


def replace_role(signers, role):
    from morph_kernels.artifact.signing import load_signer

    signer = load_signer(signers.folder / "keys" / f"{role}.pem")
    signer.role = Role.PUBLISHER
    return signer


def test_an_index_by_a_revoked_or_expired_key_is_refused(judge, signers):
    keyid = signers.by_role[Role.PUBLISHER].keyid
    assert reason_of(judge(trust=replace(signers.trust, revoked=frozenset({keyid})))) is Reason.KEY_REVOKED
    over = signers.trust_with(Role.PUBLISHER, not_after=NOW - timedelta(seconds=1))
    assert reason_of(judge(trust=over)) is Reason.KEY_EXPIRED


def test_something_else_that_the_publisher_signed_is_no_index(judge, signers):
    signer = signers.by_role[Role.PUBLISHER]
    assert reason_of(judge(data=signer.sign({"_type": "urn:morph-assets:index:v1"}))) is Reason.MALFORMED


def test_what_is_no_envelope_or_too_large_is_refused(judge):
    assert reason_of(judge(data=b"{}")) is Reason.MALFORMED
    assert reason_of(judge(data=bytes(MAX_INDEX_BYTES + 1))) is Reason.TOO_LARGE


def test_a_revoked_kernel_is_not_among_the_variants():
    index = make_index()
    assert index.variants_of(DIGEST) == index.variants
    assert replace(index, revoked=frozenset({index.variants[0].kernel_digest})).variants_of(DIGEST) == ()
    assert index.variants_of(BlueprintDigest("0" * 64)) == ()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tenant", "../x"),
        ("name", "A"),
        ("name", 1),
        ("generation", -1),
        ("generation", 2**53),
        ("issued_at", "2031-05-06T07:08:09+00:00"),
        ("expires_at", "2031-13-06T07:08:09Z"),
        ("aliases", {"production": 3}),
        ("aliases", {"Production": 2}),
        ("aliases", {"production": "2"}),
        ("aliases", []),
        ("revoked", ["x"]),
        ("releases", []),
        ("releases", [{"release": 2, "blueprint": "{}", "blueprint_digest": DIGEST}]),
        ("variants", [{}]),
        ("extra", 1),
    ],
)
def test_an_index_with_one_wrong_field_is_malformed(key, value):
    with pytest.raises(MalformedError):
        parse_index(make_index().to_document() | {key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kernel_digest", "x"),
        ("blueprint_digest", "0" * 64),
        ("size_bytes", 0),
        ("speed_ratio_ppm", 1.5),
        ("speed_ratio_ppm", -1),
        ("attestations", [1]),
        ("attestations", ["é"]),
        ("attestations", "{}"),
        ("target", {}),
        ("extra", 1),
    ],
)
def test_an_index_with_one_wrong_variant_field_is_malformed(key, value):
    document = make_index().to_document()
    document["variants"][0][key] = value
    with pytest.raises(MalformedError):
        parse_index(document)


def test_a_release_that_stands_twice_is_malformed():
    document = make_index().to_document()
    document["releases"].append(document["releases"][0])
    with pytest.raises(MalformedError):
        parse_index(document)


def test_an_index_that_nobody_could_read_is_never_signed(signers):
    with pytest.raises(MalformedError):
        sign_index(make_index(aliases={"production": 99}), signers.by_role[Role.PUBLISHER])
