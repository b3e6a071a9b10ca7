"""Whose signatures count: by role, key, time and isolation."""

from dataclasses import replace
from datetime import timedelta

import pytest

from morph_kernels.artifact.signing import generate_key, load_signer
from morph_kernels.artifact.trust import Role, TrustedKey
from morph_kernels.artifact.verify import Verified
from morph_kernels.reasons import Reason
from tests.support.judging import MANIFEST, reason_of
from tests.support.signing import NOW


def test_a_key_that_nobody_trusts_is_untrusted(judge, signers, tmp_path):
    generate_key(tmp_path / "compiler.pem")
    built = signers.provenance(MANIFEST, signer=load_signer(tmp_path / "compiler.pem"))
    assert reason_of(judge(attestations=[built, signers.summary(MANIFEST, built)])) is Reason.UNTRUSTED_KEY


def test_a_trusted_key_id_under_another_key_is_a_bad_signature(judge, signers, tmp_path):
    generate_key(tmp_path / "compiler.pem")
    stranger = load_signer(tmp_path / "compiler.pem")
    stranger.keyid = signers.by_role[Role.COMPILER].keyid
    built = signers.provenance(MANIFEST, signer=stranger)
    assert reason_of(judge(attestations=[built, signers.summary(MANIFEST, built)])) is Reason.BAD_SIGNATURE


def speaking_for(signers, role, other):
    """Return a signer that has one role's key and claims another role: a thief with the wrong key."""
    thief = load_signer(signers.folder / "keys" / f"{role}.pem")
    thief.role = other
    return thief


@pytest.mark.parametrize("role", [Role.PUBLISHER, Role.AUDITOR, Role.EVALUATOR])
def test_provenance_by_another_role_is_a_wrong_role(judge, signers, role):
    built = signers.provenance(MANIFEST, signer=speaking_for(signers, role, Role.COMPILER))
    assert reason_of(judge(attestations=[built, signers.summary(MANIFEST, built)])) is Reason.WRONG_ROLE


@pytest.mark.parametrize("role", [Role.PUBLISHER, Role.AUDITOR, Role.COMPILER])
def test_a_verdict_by_another_role_is_a_wrong_role(judge, signers, role):
    built = signers.provenance(MANIFEST)
    passed = signers.summary(MANIFEST, built, signer=speaking_for(signers, role, Role.EVALUATOR))
    assert reason_of(judge(attestations=[built, passed])) is Reason.WRONG_ROLE


def test_one_key_under_two_ids_cannot_vouch_twice(judge, signers):
    one = signers.trust.keys[signers.by_role[Role.COMPILER].keyid]
    twin = TrustedKey("f" * 64, one.public_hex, Role.EVALUATOR, one.not_before, one.not_after)
    trust = replace(signers.trust, keys={**signers.trust.keys, twin.keyid: twin})
    signer = speaking_for(signers, Role.COMPILER, Role.EVALUATOR)
    signer.keyid = twin.keyid
    built = signers.provenance(MANIFEST)
    attestations = [built, signers.summary(MANIFEST, built, signer=signer)]
    assert reason_of(judge(attestations=attestations, trust=trust)) is Reason.WRONG_ROLE


@pytest.mark.parametrize("role", [Role.COMPILER, Role.EVALUATOR])
def test_a_revoked_key_is_refused_listed_or_not(judge, signers, role):
    keyid = signers.by_role[role].keyid
    revoked = replace(signers.trust, revoked=frozenset({keyid}))
    unlisted = replace(revoked, keys={name: key for name, key in revoked.keys.items() if name != keyid})
    assert reason_of(judge(trust=revoked)) is Reason.KEY_REVOKED
    assert reason_of(judge(trust=unlisted)) is Reason.KEY_REVOKED


@pytest.mark.parametrize("role", [Role.COMPILER, Role.EVALUATOR])
def test_a_key_outside_its_time_is_expired(judge, signers, role):
    over = signers.trust_with(role, not_after=NOW - timedelta(seconds=1))
    early = signers.trust_with(role, not_before=NOW + timedelta(seconds=1))
    assert reason_of(judge(trust=over)) is Reason.KEY_EXPIRED
    assert reason_of(judge(trust=early)) is Reason.KEY_EXPIRED


@pytest.mark.parametrize("role", [Role.COMPILER, Role.EVALUATOR])
def test_a_development_key_is_believed_only_where_that_is_allowed(judge, signers, role):
    trust = signers.trust_with(role, development=True)
    assert reason_of(judge(trust=trust)) is Reason.DEVELOPMENT_KEY
    assert isinstance(judge(trust=replace(trust, allow_development=True)), Verified)


def test_a_build_without_isolation_is_believed_only_where_development_is_allowed(judge, signers):
    built = signers.provenance(MANIFEST, isolation="none")
    attestations = [built, signers.summary(MANIFEST, built)]
    assert reason_of(judge(attestations=attestations)) is Reason.DEVELOPMENT_KEY
    assert isinstance(judge(attestations=attestations, trust=replace(signers.trust, allow_development=True)), Verified)
