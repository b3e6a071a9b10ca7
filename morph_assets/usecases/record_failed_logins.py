"""Brings the failed logins that the server's log knows of into the chain of refusals."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from morph_assets.connections import Connections
from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.servers import POSTGRES
from morph_assets.registry import failed_logins
from morph_assets.usecases.plan_failed_logins import FailedLogins, iter_lines, plan_failed_logins
from morph_kernels.errors import MorphError


class NoServerLogError(MorphError):
    """Nobody says where the server's log is."""

    def __init__(self, place: str) -> None:
        super().__init__(f"there is no server's log at {place}: name your server's with --log FILE")


def record_failed_logins(connections: Connections, log: Path | None = None) -> list[FailedLogins]:
    """Record the failed logins of this tenant that were not told before; reading a log again tells nothing twice.

    Args:
        connections: the platform's servers.
        log: the server's log; the embedded server's when None.

    Raises:
        NoServerLogError: there is no such file.
    """
    layout = HomeLayout(connections.config.endpoints.home or connections.home)
    newest = log or layout.log_file(POSTGRES)
    if not newest.is_file():
        raise NoServerLogError(str(newest))
    paths = [path for path in (newest.with_suffix(f"{newest.suffix}.1"), newest) if path.is_file()]
    found = plan_failed_logins(chain.from_iterable(map(_iter_lines, paths)), now=datetime.now(UTC))
    registry = connections.registry("auditor")
    return [f for f in found if failed_logins.record_failed_logins(registry, f.login, f.minute, f.count)]


def _iter_lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as log:
        yield from iter_lines(log)
