"""Moments on the command line: ISO 8601, with an offset or in UTC."""

from datetime import UTC, datetime

import typer

DAY_S = 24 * 3600
# Ten years, as in the registry.
MAX_GRACE_DAYS = 3650


def parse_moment(text: str) -> datetime:
    """Return the moment; without an offset it is UTC.

    Raises:
        typer.BadParameter: it is no moment.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no moment: give 2026-11-23, or 2026-11-23T14:02+01:00") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
