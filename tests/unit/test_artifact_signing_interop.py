"""Our envelopes are DSSE: the library of its authors verifies what we sign, and we what it signs."""

import json

import pytest
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import CryptoSigner, SSlibKey

from morph_kernels.artifact.envelope import IN_TOTO_PAYLOAD, SignedPayload, signature_is_valid
from morph_kernels.artifact.roles import INDEX_KIND, Role


def test_what_we_sign_another_implementation_verifies(signers):
    signer = signers.by_role[Role.PUBLISHER]
    key = SSlibKey(signer.keyid, "ed25519", "ed25519", {"public": signer.public_hex})
    ours = Envelope.from_dict(json.loads(signer.sign({"_type": INDEX_KIND, "text": "grüße"})))
    assert ours.verify([key], 1).keys() == {signer.keyid}
    ours.payload += b" "
    with pytest.raises(VerificationError):
        ours.verify([key], 1)


@pytest.mark.parametrize("payload", [b"", b"{}", b"\x00\xff" * 100])
def test_what_another_implementation_signs_we_verify(payload):
    signer = CryptoSigner.generate_ed25519()
    public_hex = signer.public_key.keyval["public"]
    signature = bytes.fromhex(Envelope(payload, IN_TOTO_PAYLOAD, {}).sign(signer).signature)
    signed = SignedPayload(payload, IN_TOTO_PAYLOAD, "a" * 64, signature)
    assert signature_is_valid(signed, public_hex=public_hex)
    assert not signature_is_valid(SignedPayload(payload, "text/plain", "a" * 64, signature), public_hex=public_hex)
    assert not signature_is_valid(
        SignedPayload(payload + b" ", IN_TOTO_PAYLOAD, "a" * 64, signature), public_hex=public_hex
    )
