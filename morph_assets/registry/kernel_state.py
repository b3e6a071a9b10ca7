"""The states of a kernel; which may follow which, the database's transition table says."""

from enum import StrEnum


class KernelState(StrEnum):
    """Where a kernel is on its way from built to gone."""

    COMPILED = "COMPILED"
    VALIDATING = "VALIDATING"
    VALIDATED = "VALIDATED"
    REJECTED = "REJECTED"
    PUBLISHED = "PUBLISHED"
    QUARANTINED = "QUARANTINED"
    REVOKED = "REVOKED"
    RETIRED = "RETIRED"
    PURGED = "PURGED"
