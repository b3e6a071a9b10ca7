"""Moments as whole microseconds since 1970 (UTC): as hashes cover them, and as payloads tell them."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """Return the microseconds until the moment."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(moment_us: int) -> datetime:
    """Return the moment, in UTC."""
    return _EPOCH + moment_us * _MICROSECOND
