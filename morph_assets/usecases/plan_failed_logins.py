"""Reads failed logins out of a PostgreSQL server's log."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TextIO

# What the embedded server's `log_line_prefix = '%m [%p] %q%u@%d '` gives; any that begins with %m in UTC will do.
_FAILED = re.compile(
    r"(\d{4}-\d\d-\d\d \d\d:\d\d):\d\d\.\d+ (?:UTC|GMT) .*FATAL:\s+"
    r'(?:password authentication failed for user|role|no pg_hba\.conf entry for .*user) "(morph_[^"]+)"'
)

_MAX_LINE_CHARS = 4096


@dataclass(frozen=True)
class FailedLogins:
    """How often a login was refused within one minute."""

    login: str
    minute: datetime
    count: int


def iter_lines(log: TextIO) -> Iterator[str]:
    """Yield the beginning of each line; a long one takes no memory, and its rest is no line of its own."""
    begins = True
    while part := log.readline(_MAX_LINE_CHARS):
        if begins:
            yield part
        begins = part.endswith("\n")


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
