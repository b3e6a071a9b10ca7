import json
import subprocess
import sys
from dataclasses import replace

import pytest

from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.envelope import MAX_ATTESTATION_BYTES, parse_envelope
from morph_kernels.artifact.manifest import MAX_MANIFEST_BYTES
from morph_kernels.artifact.verify import MAX_ATTESTATIONS, Verified
from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.identity import KernelDigest
from morph_kernels.reasons import Reason
from tests.support.artifacts import BACKWARD, FORWARD, RUNTIME, make_bundle, make_manifest, with_target
from tests.support.judging import BUNDLE, MANIFEST, reason_of


def with_library(role, data):
    return replace(BUNDLE, libraries={**BUNDLE.libraries, role: data})


def flipped(data, place=-1):
    damaged = bytearray(data)
    damaged[place] ^= 1
    return bytes(damaged)


def with_envelope(data, **changes):
    return canonical_bytes(json.loads(data) | changes)


def test_a_kernel_that_two_parties_vouch_for_is_verified(judge):
    verdict = judge()
    assert verdict == Verified(MANIFEST)


def test_bad_attestations_beside_good_ones_change_nothing(judge, signers):
    good = signers.attest(MANIFEST)
    assert isinstance(judge(attestations=[b"junk", *good, flipped(good[0]), good[1]]), Verified)


def test_a_kernel_validated_for_several_torches_runs_under_each(judge, signers):
    built = signers.provenance(MANIFEST)
    runtimes = [replace(RUNTIME, torch=torch) for torch in ("2.13.0", "2.15.0")]
    passed = [signers.summary(MANIFEST, built, runtime=runtime) for runtime in runtimes]
    for runtime in runtimes:
        assert isinstance(judge(attestations=[built, *passed], runtime=runtime), Verified)


def test_a_kernel_evaluated_on_a_higher_level_runs_on_a_lower_one_that_covers_its_target(judge):
    assert isinstance(judge(runtime=replace(RUNTIME, isa="x86-64-v3")), Verified)


@pytest.mark.parametrize("place", [0, 10, 500, -1])
def test_a_flipped_byte_in_the_manifest_is_a_wrong_digest(judge, place):
    assert reason_of(judge(replace(BUNDLE, manifest=flipped(BUNDLE.manifest, place)))) is Reason.DIGEST_MISMATCH


@pytest.mark.parametrize("role", ["forward", "backward"])
@pytest.mark.parametrize("change", [flipped, lambda data: data[:-1], lambda data: data + b"\0", lambda _: b""])
def test_a_flipped_truncated_or_longer_library_is_a_wrong_digest(judge, role, change):
    assert reason_of(judge(with_library(role, change(BUNDLE.libraries[role])))) is Reason.DIGEST_MISMATCH


def test_a_library_replaced_by_another_of_the_same_size_is_a_wrong_digest(judge):
    assert reason_of(judge(with_library("forward", bytes(len(FORWARD))))) is Reason.DIGEST_MISMATCH


def test_swapped_missing_or_additional_libraries_are_a_wrong_digest(judge):
    swapped = replace(BUNDLE, libraries={"forward": BACKWARD, "backward": FORWARD})
    missing = replace(BUNDLE, libraries={"forward": FORWARD})
    additional = with_library("sideways", b"x")
    assert {reason_of(judge(bundle)) for bundle in (swapped, missing, additional)} == {Reason.DIGEST_MISMATCH}


def test_another_kernel_than_the_expected_one_is_a_wrong_digest(judge):
    assert reason_of(judge(expected_digest=KernelDigest("0" * 64))) is Reason.DIGEST_MISMATCH


def test_a_manifest_past_the_limit_is_too_large(judge):
    assert reason_of(judge(replace(BUNDLE, manifest=bytes(MAX_MANIFEST_BYTES + 1)))) is Reason.TOO_LARGE


def test_an_expected_manifest_that_is_none_is_malformed(judge):
    junk = b'{"format_version":1}'
    verdict = judge(replace(BUNDLE, manifest=junk), expected_digest=KernelDigest(sha256_hex(junk)))
    assert reason_of(verdict) is Reason.MALFORMED


def test_a_kernel_without_attestations_is_unsigned(judge):
    assert reason_of(judge(attestations=[])) is Reason.UNSIGNED


@pytest.mark.parametrize("kept", [0, 1])
def test_a_kernel_that_only_one_party_vouches_for_is_unsigned(judge, signers, kept):
    assert reason_of(judge(attestations=[signers.attest(MANIFEST)[kept]])) is Reason.UNSIGNED


@pytest.mark.parametrize("which", [0, 1])
def test_an_envelope_without_signatures_is_unsigned(judge, signers, which):
    attestations = signers.attest(MANIFEST)
    attestations[which] = with_envelope(attestations[which], signatures=[])
    assert reason_of(judge(attestations=attestations)) is Reason.UNSIGNED


@pytest.mark.parametrize("which", [0, 1])
def test_a_changed_payload_is_a_bad_signature(judge, signers, which):
    attestations = signers.attest(MANIFEST)
    signed = parse_envelope(attestations[which], what="x", max_bytes=MAX_ATTESTATION_BYTES)
    attestations[which] = replace(signed, payload=flipped(signed.payload, 20)).to_bytes()
    assert reason_of(judge(attestations=attestations)) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("which", [0, 1])
def test_a_changed_signature_or_payload_type_is_a_bad_signature(judge, signers, which):
    good = signers.attest(MANIFEST)
    signed = parse_envelope(good[which], what="x", max_bytes=MAX_ATTESTATION_BYTES)
    for bad in (
        replace(signed, signature=flipped(signed.signature)),
        replace(signed, payload_type="application/vnd.morph-assets+json"),
    ):
        attestations = list(good)
        attestations[which] = bad.to_bytes()
        assert reason_of(judge(attestations=attestations)) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    "change",
    [
        lambda _: b"",
        lambda data: data[:-1],
        lambda data: data + b"\n",
        lambda data: data.replace(b'"payload"', b'"Payload"'),
        lambda data: with_envelope(data, extra=1),
        lambda data: with_envelope(data, payload="!!!!"),
        lambda data: with_envelope(data, payloadType="text/plain"),
        lambda data: with_envelope(data, signatures=json.loads(data)["signatures"] * 2),
    ],
)
def test_an_envelope_in_another_form_is_malformed(judge, signers, which, change):
    attestations = signers.attest(MANIFEST)
    attestations[which] = change(attestations[which])
    assert reason_of(judge(attestations=attestations)) is Reason.MALFORMED


def test_attestations_past_the_limits_are_too_large(judge, signers):
    good = signers.attest(MANIFEST)
    assert reason_of(judge(attestations=good * MAX_ATTESTATIONS)) is Reason.TOO_LARGE
    assert reason_of(judge(attestations=[b"x" * (MAX_ATTESTATION_BYTES + 1), good[1]])) is Reason.TOO_LARGE


@pytest.mark.parametrize("which", [0, 1])
def test_an_attestation_for_another_manifest_is_a_mismatch(judge, signers, which):
    attestations = signers.attest(MANIFEST)
    attestations[which] = signers.attest(make_manifest(blueprint="b" * 64))[which]
    assert reason_of(judge(attestations=attestations)) is Reason.ATTESTATION_MISMATCH


def test_provenance_that_names_another_build_is_a_mismatch(judge, signers):
    other = make_manifest(blueprint="b" * 64)
    vars(other)["digest"] = MANIFEST.digest
    built = signers.provenance(other)
    assert reason_of(judge(attestations=[built, signers.summary(MANIFEST, built)])) is Reason.ATTESTATION_MISMATCH


def test_a_verdict_about_another_provenance_is_a_mismatch(judge, signers):
    passed = signers.summary(MANIFEST, b"another envelope")
    assert reason_of(judge(attestations=[signers.provenance(MANIFEST), passed])) is Reason.ATTESTATION_MISMATCH


def test_a_failed_evaluation_is_no_permission(judge, signers):
    built = signers.provenance(MANIFEST)
    failed = signers.summary(MANIFEST, built, result="FAILED")
    assert reason_of(judge(attestations=[built, failed])) is Reason.EVALUATION_FAILED


def test_an_attestation_for_another_tenant_is_refused(judge, signers):
    assert reason_of(judge(tenant="acme")) is Reason.WRONG_TENANT
    built = signers.provenance(MANIFEST)
    foreign = signers.summary(MANIFEST, built, tenant="acme")
    assert reason_of(judge(attestations=[built, foreign])) is Reason.WRONG_TENANT


def test_a_torch_that_nobody_validated_is_refused(judge):
    assert reason_of(judge(runtime=replace(RUNTIME, torch="2.15.0"))) is Reason.TORCH_NOT_VALIDATED


def test_an_evaluation_on_a_host_that_could_not_run_the_code_counts_for_nothing(judge, signers):
    built = signers.provenance(MANIFEST)
    passed = signers.summary(MANIFEST, built, runtime=replace(RUNTIME, isa="x86-64-v2"))
    assert reason_of(judge(attestations=[built, passed])) is Reason.TORCH_NOT_VALIDATED


@pytest.mark.parametrize(
    ("changes", "runtime", "reason"),
    [
        ({"isa": "x86-64-v4"}, {"isa": "x86-64-v3"}, Reason.WRONG_ISA),
        ({"glibc": "2.37"}, {}, Reason.WRONG_LIBC),
        ({"libstdcxx": "3.4.31"}, {}, Reason.WRONG_LIBC),
        ({"device": "cuda", "isa": "sm_90"}, {}, Reason.WRONG_DEVICE),
    ],
)
def test_a_kernel_for_another_host_is_refused(judge, changes, runtime, reason):
    manifest = make_manifest(target=with_target(**changes))
    verdict = judge(make_bundle(manifest), manifest=manifest, runtime=replace(RUNTIME, **runtime))
    assert reason_of(verdict) is reason


def test_a_kernel_without_a_backward_library_is_verified_if_its_manifest_has_none(judge):
    manifest = replace(MANIFEST, libraries=MANIFEST.libraries[:1])
    bundle = KernelBundle(manifest.to_bytes(), {"forward": FORWARD})
    assert isinstance(judge(bundle, manifest=manifest), Verified)


def test_judging_imports_neither_torch_nor_a_server_client():
    script = (
        "import sys, morph_kernels.artifact.verify, morph_kernels.artifact.index, morph_kernels.artifact.trust\n"
        "sys.exit(', '.join(m for m in ('torch', 'obstore', 'redis', 'psycopg', 'securesystemslib', 'cryptography')"
        " if m in sys.modules) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, env={"PYTHONPATH": "kernels"}, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")
