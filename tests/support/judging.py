"""The verdict on the usual kernel, with something about it changed."""

import pytest

from morph_kernels.artifact.verify import Rejected, verify_kernel
from tests.support.artifacts import RUNTIME, make_bundle, make_manifest
from tests.support.signing import NOW

MANIFEST = make_manifest()
BUNDLE = make_bundle(MANIFEST)


@pytest.fixture
def judge(signers):
    """Verify the usual kernel with some arguments changed."""

    def run(bundle=BUNDLE, attestations=None, **changes):
        manifest = MANIFEST if bundle is BUNDLE else changes.pop("manifest", MANIFEST)
        arguments = {
            "trust": signers.trust,
            "runtime": RUNTIME,
            "tenant": "default",
            "expected_digest": manifest.digest,
            "now": NOW,
        } | changes
        return verify_kernel(bundle, signers.attest(manifest) if attestations is None else attestations, **arguments)

    return run


def reason_of(verdict):
    assert isinstance(verdict, Rejected), verdict
    assert verdict.detail
    return verdict.reason
