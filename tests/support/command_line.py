"""Runs `morph` as people do: in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
IMPORT_PATH = os.pathsep.join(str(REPOSITORY / folder) for folder in ("", "kernels", "sensors"))
_TIMEOUT_S = 120


def clean_environment(home: Path | None = None, **variables: str) -> dict[str, str]:
    """Return an environment without any of ours, but with this checkout importable and the home set."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MORPH_", "DAGSTER_", "PG"))}
    named = {} if home is None else {"MORPH_HOME": str(home)}
    return kept | {"PYTHONPATH": IMPORT_PATH, "COLUMNS": "200"} | named | variables


def morph_command(*arguments: str) -> list[str]:
    """Return the command line of one `morph` command."""
    return [sys.executable, "-m", "morph_assets.cli", *arguments]


def become(uid: int | None) -> list[str]:
    """Return what makes the command after it run as an ordinary user.

    The user may read everything, because the interpreter of the tests may stand in a private folder; it can write and
    signal no more than others.
    """
    if uid is None:
        return []
    capability = "+dac_read_search"
    identity = [f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    return ["setpriv", *identity, f"--inh-caps={capability}", f"--ambient-caps={capability}", "--"]


def run_morph(
    *arguments: str, cwd: Path, home: Path | None = None, uid: int | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run one command to its end, as another user if asked to."""
    return subprocess.run(
        [*become(uid), *morph_command(*arguments)],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=clean_environment(home, **variables),
        timeout=_TIMEOUT_S,
        stdin=subprocess.DEVNULL,
    )
