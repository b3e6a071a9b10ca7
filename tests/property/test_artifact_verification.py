from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from morph_kernels.artifact.document import MalformedError
from morph_kernels.artifact.envelope import MAX_ATTESTATION_BYTES, parse_envelope
from morph_kernels.artifact.index import verify_index
from morph_kernels.artifact.trust import TrustError
from morph_kernels.artifact.trust_policy import parse_trust
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.artifact.verify import Verified, verify_kernel
from tests.support.artifacts import RUNTIME, make_bundle, make_manifest
from tests.support.signing import NOW

MANIFEST = make_manifest()
BUNDLE = make_bundle(MANIFEST)
# The session's keys are the same for every example.
shared_keys = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def judge(signers, bundle, attestations):
    return verify_kernel(
        bundle,
        attestations,
        trust=signers.trust,
        runtime=RUNTIME,
        tenant="default",
        expected_digest=MANIFEST.digest,
        now=NOW,
    )


def changed(data, place, flip):
    damaged = bytearray(data)
    damaged[place % len(data)] ^= flip
    return bytes(damaged)


@shared_keys
@given(part=st.sampled_from(["manifest", "forward", "backward", "provenance", "summary"]), data=st.data())
def test_any_single_changed_byte_is_rejected(signers, part, data):
    place, flip = data.draw(st.integers(0, 2**20)), data.draw(st.integers(1, 255))
    bundle, attestations = BUNDLE, signers.attest(MANIFEST)
    assert isinstance(judge(signers, bundle, attestations), Verified)
    match part:
        case "manifest":
            bundle = replace(bundle, manifest=changed(bundle.manifest, place, flip))
        case "forward" | "backward":
            libraries = {**bundle.libraries, part: changed(bundle.libraries[part], place, flip)}
            bundle = replace(bundle, libraries=libraries)
        case _:
            which = ["provenance", "summary"].index(part)
            attestations[which] = changed(attestations[which], place, flip)
    assert isinstance(judge(signers, bundle, attestations), Rejected)


@shared_keys
@given(st.binary(max_size=400))
def test_any_bytes_as_attestation_index_or_trust_are_refused_and_raise_nothing_else(signers, noise):
    assert isinstance(judge(signers, BUNDLE, [noise, noise]), Rejected)
    verdict = verify_index(noise, trust=signers.trust, tenant="default", name="x", now=NOW, highest_seen=0)
    assert isinstance(verdict, Rejected)
    try:
        parse_trust(noise)
    except TrustError:
        return
    raise AssertionError


@shared_keys
@given(place=st.integers(0, 2**20), cut=st.integers(0, 2**20), noise=st.binary(max_size=30))
def test_a_spliced_envelope_is_an_envelope_or_malformed(signers, place, cut, noise):
    good = signers.provenance(MANIFEST)
    place, cut = place % len(good), cut % len(good)
    spliced = good[:place] + noise + good[cut:]
    try:
        parsed = parse_envelope(spliced, what="x", max_bytes=MAX_ATTESTATION_BYTES)
    except MalformedError:
        return
    assert parsed.to_bytes() == spliced
