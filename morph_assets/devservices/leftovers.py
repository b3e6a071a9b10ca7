"""Ends what a killed supervisor or postmaster left behind, and nothing else.

A process is ours if it runs one of our two servers *in our data folder*: the kernel says so, no pid file is believed.
"""

import signal
from pathlib import Path

from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.process import ProcessRef, find_process, wait_until_gone
from morph_assets.devservices.servers import POSTGRES, VALKEY

_PROGRAMS = ("postgres", "valkey-server", "initdb")
_PATIENCE_S = 10.0


def find_leftovers(layout: HomeLayout, server: str | None = None) -> list[ProcessRef]:
    """Return every server process that works in this home, or those of one server."""
    folders = {str(folder) for name, folder in _folders(layout) if server in {None, name}}
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [found for pid in pids if _works_in(pid, folders) and (found := find_process(pid)) is not None]


def end_leftovers(layout: HomeLayout, server: str | None = None) -> int:
    """End every server process of this home, or of one server, gently first; return how many there were.

    Call it only as the holder of the supervisor's lock: then nobody else needs them.
    """
    found = find_leftovers(layout, server)
    for process in found:
        # Fast shutdown for a postmaster; its backends follow it, for them the signal only cancels a query.
        process.send(signal.SIGINT)
    for process in wait_until_gone(found, _PATIENCE_S):
        process.send(signal.SIGKILL)
    wait_until_gone(found, _PATIENCE_S)
    if server in {None, POSTGRES}:
        # With nobody left in the data folder its lock files are stale, even if another process has that pid by now, or
        # the dead one has it still because nobody has reaped it.
        for stale in (layout.postgres_data / "postmaster.pid", *layout.run.glob(".s.PGSQL.*")):
            stale.unlink(missing_ok=True)
    return len(found)


def _folders(layout: HomeLayout) -> list[tuple[str, Path]]:
    return [(POSTGRES, layout.postgres_data), (POSTGRES, layout.postgres_draft), (VALKEY, layout.valkey_data)]


def _works_in(pid: int, folders: set[str]) -> bool:
    try:
        program = Path(f"/proc/{pid}/exe").readlink().name.removesuffix(" (deleted)")
        return program in _PROGRAMS and str(Path(f"/proc/{pid}/cwd").readlink()) in folders
    except OSError:  # ended meanwhile, or another user's: not ours
        return False
