"""Reads failed logins out of a PostgreSQL server's log."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# What the embedded server's `log_line_prefix = '%m [%p] %q%u@%d '` gives; any that begins with %m in UTC will do.
_FAILED = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d):\d\d\.\d+ (?:UTC|GMT) .*FATAL:\s+"
    r'(?:password authentication failed for user|role|no pg_hba\.conf entry for .*user) "(morph_[^"]+)"'
)


@dataclass(frozen=True)
class FailedLogins:
    """How often a login was refused within one minute."""

    login: str
    minute: datetime
    count: int


def plan_failed_logins(lines: Iterable[str], *, now: datetime) -> list[FailedLogins]:
    """Return the failed logins of whole minutes, oldest first; the present minute is left to the next reading."""
    counts: Counter[tuple[datetime, str]] = Counter()
    for line in lines:
        found = _FAILED.match(line)
        if found:
            minute = datetime.strptime(found[1], "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
            counts[minute, found[2]] += 1
    return [
        FailedLogins(login, minute, count)
        for (minute, login), count in sorted(counts.items())
        if minute + timedelta(minutes=1) <= now
    ]
