"""What a kernel took to build, by the word of its compiler."""

from collections.abc import Sequence

from morph_kernels.artifact.attestation import parse_provenance
from morph_kernels.artifact.document import MalformedError, parse_document
from morph_kernels.artifact.envelope import MAX_ATTESTATION_BYTES, parse_envelope
from morph_kernels.artifact.roles import PROVENANCE_KIND, document_kind


def build_seconds(attestations: Sequence[bytes]) -> float:
    """Return the seconds between begin and end of a build, from the first provenance; 0 where there is none.

    For counting: whoever acts on what an attestation says judges it first.
    """
    for envelope in attestations:
        try:
            signed = parse_envelope(envelope, what="attestation", max_bytes=MAX_ATTESTATION_BYTES)
            document = parse_document(signed.payload, what="attestation", max_bytes=MAX_ATTESTATION_BYTES)
            if document_kind(document) == PROVENANCE_KIND:
                told = parse_provenance(document)
                return max(0.0, (told.finished_at - told.started_at).total_seconds())
        except MalformedError:
            continue
    return 0.0
