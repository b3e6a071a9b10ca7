"""Who may sign what: disjoint roles, each with its own key and its own kinds of documents."""

from collections.abc import Mapping
from enum import StrEnum, unique
from typing import Any

from morph_kernels.artifact.envelope import IN_TOTO_PAYLOAD, MORPH_PAYLOAD

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PROVENANCE_KIND = "https://slsa.dev/provenance/v1"
SUMMARY_KIND = "https://slsa.dev/verification_summary/v1"
INDEX_KIND = "urn:morph-assets:index:v1"
TRUST_KIND = "urn:morph-assets:trust:v1"
AUDIT_HEAD_KIND = "urn:morph-assets:audit-head:v1"
DELETION_KIND = "urn:morph-assets:deletion:v1"
COMMIT_KIND = "urn:morph-assets:commit:v1"

_STATEMENT_KINDS = frozenset({PROVENANCE_KIND, SUMMARY_KIND})


@unique
class Role(StrEnum):
    """A signer's part. One key has one role, and no role may speak for another."""

    ROOT = "root"
    COMPILER = "compiler"
    EVALUATOR = "evaluator"
    PUBLISHER = "publisher"
    AUDITOR = "auditor"
    TRAINER = "trainer"


KINDS: Mapping[Role, frozenset[str]] = {
    Role.ROOT: frozenset({TRUST_KIND}),
    Role.COMPILER: frozenset({PROVENANCE_KIND}),
    Role.EVALUATOR: frozenset({SUMMARY_KIND}),
    Role.PUBLISHER: frozenset({INDEX_KIND}),
    Role.AUDITOR: frozenset({AUDIT_HEAD_KIND, DELETION_KIND}),
    Role.TRAINER: frozenset({COMMIT_KIND}),
}


def document_kind(document: Mapping[str, Any]) -> str | None:
    """Return what a document says it is: the predicate type of an in-toto statement, else its `_type`."""
    statement = document.get("_type") == STATEMENT_TYPE
    kind = document.get("predicateType") if statement else document.get("_type")
    if not isinstance(kind, str) or (kind in _STATEMENT_KINDS) != statement:
        # A statement cannot pass for a plain document by its predicate type, nor the other way round.
        return None
    return kind


def payload_type(document: Mapping[str, Any]) -> str:
    """Return the DSSE payload type that a document is signed under."""
    return IN_TOTO_PAYLOAD if document.get("_type") == STATEMENT_TYPE else MORPH_PAYLOAD
