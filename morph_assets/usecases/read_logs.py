"""Reads the ends of the servers' logs."""

from dataclasses import dataclass
from pathlib import Path

from morph_assets.devservices.errors import ServicesError
from morph_assets.devservices.layout import HomeLayout

_TAIL_BYTES = 256 * 1024


@dataclass(frozen=True)
class LogTail:
    """The last lines of one log and the offset they end at."""

    path: Path
    lines: tuple[str, ...]
    end: int


def read_logs(home: Path, name: str | None, *, lines: int) -> tuple[LogTail, ...]:
    """Return the last lines of the named log, or of all.

    Raises:
        ServicesError: there is no such log; the message lists those there are.
    """
    present = sorted(HomeLayout(home).logs.glob("*.log"))
    chosen = [path for path in present if name in {None, path.stem}]
    if not chosen:
        names = ", ".join(path.stem for path in present) or "none yet: run `morph up`"
        raise ServicesError(f"there is no log {name or ''} in {home}; there is: {names}")
    return tuple(_tail(path, lines) for path in chosen)


def read_added(path: Path, since: int) -> tuple[tuple[str, ...], int]:
    """Return the whole lines added after an offset, and the new offset; a log begun anew is read from its start."""
    size = path.stat().st_size
    start = since if since <= size else 0
    with path.open("rb") as file:
        file.seek(start)
        added = file.read(_TAIL_BYTES)
    whole = added[: added.rfind(b"\n") + 1]
    return tuple(whole.decode("utf-8", errors="replace").splitlines()), start + len(whole)


def _tail(path: Path, lines: int) -> LogTail:
    size = path.stat().st_size
    found, end = read_added(path, max(0, size - _TAIL_BYTES))
    return LogTail(path, found[len(found) - min(lines, len(found)) :], end)
