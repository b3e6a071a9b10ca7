"""What the registry refuses, as types; each SQLSTATE of class MO that the schema raises has one."""

from typing import ClassVar

import psycopg

from morph_kernels.errors import MorphError


class RegistryError(MorphError):
    """The registry refused or failed; the message is the database's own."""

    sqlstate: ClassVar[str | None] = None


class NotAMemberError(RegistryError):
    """The login belongs to no active tenant."""

    sqlstate = "MO001"


class IllegalTransitionError(RegistryError):
    """The lifecycle has no such transition."""

    sqlstate = "MO002"


class GuardError(RegistryError):
    """The transition exists, but what it needs does not stand in the registry."""

    sqlstate = "MO003"


class StaleVersionError(RegistryError):
    """Somebody else changed it first: read again, then decide again."""

    sqlstate = "MO004"


class FencedError(RegistryError):
    """The lease's epoch is over; its holder must stop."""

    sqlstate = "MO005"


class NotRegisteredError(RegistryError):
    """No such row in this tenant."""

    sqlstate = "MO006"


class EventMissingError(RegistryError):
    """A governed row was changed without its event."""

    sqlstate = "MO007"


class QuotaExceededError(RegistryError):
    """A hard limit of the tenant would be passed."""

    sqlstate = "MO008"


class ImmutableError(RegistryError):
    """What is written once is not changed or removed."""

    sqlstate = "MO009"


class BlobGoneError(RegistryError):
    """A blob that was to be shared is no longer live: upload it again."""

    sqlstate = "MO010"
    retryable = True


class LeaseHeldError(RegistryError):
    """Another live holder has the lease."""

    sqlstate = "MO011"
    retryable = True


class AccessRefusedError(RegistryError):
    """This login's role may not do that."""

    sqlstate = "42501"


class InvalidRecordError(RegistryError):
    """A value breaks a rule of the schema (a digest that is not its bytes', an unknown reference, a bad tag)."""


class RegistryBusyError(RegistryError):
    """A lock or a statement took too long, or two transactions met; the same call may succeed."""

    retryable = True


class RegistryUnavailableError(RegistryError):
    """The database did not answer."""

    retryable = True


_BY_SQLSTATE = {
    error.sqlstate: error
    for error in (
        NotAMemberError,
        IllegalTransitionError,
        GuardError,
        StaleVersionError,
        FencedError,
        NotRegisteredError,
        EventMissingError,
        QuotaExceededError,
        ImmutableError,
        BlobGoneError,
        LeaseHeldError,
        AccessRefusedError,
    )
}


def registry_error(error: psycopg.Error) -> RegistryError:
    """Return the typed error for what the driver raised."""
    sqlstate = error.sqlstate or ""
    message = (error.diag.message_primary or str(error)).strip() or type(error).__name__
    if sqlstate in _BY_SQLSTATE:
        return _BY_SQLSTATE[sqlstate](message)
    if sqlstate[:2] in {"22", "23"}:
        return InvalidRecordError(message)
    if sqlstate[:2] == "40" or sqlstate in {"25P03", "25P04", "55P03", "57014"}:
        return RegistryBusyError(message)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return RegistryUnavailableError(message)
    return RegistryError(message)
