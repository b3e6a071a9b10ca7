"""Dumps of whole databases by PostgreSQL's own programs, each of one snapshot; no password in any command line."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from morph_assets.archive.errors import DumpFailedError

_LOCK_WAIT_MS = 60_000
_PRIVATE_UMASK = 0o077
_WORDS_KEPT = 300
# Roles belong to the server and have passwords, so a dump names owners only through the role that restores it.
_AS_NOBODY = ("--no-owner",)


def dump_database(program: Path, url: str, path: Path, *, role: str | None = None, snapshot: str | None = None) -> None:
    """Write the database into a file that `load_database` reads; sessions go on as if nothing happened.

    Args:
        program: `pg_dump`, not older than the server.
        url: a login that may read everything, or become `role`, which may.
        path: the new file, mode 0600.
        role: the role to dump as; the owner of the tables reads past row-level security.
        snapshot: the exported snapshot to dump; the present one when None.

    Raises:
        DumpFailedError: the program's last words.
    """
    options = ["--format=custom", "--no-sync", "--no-large-objects", f"--lock-wait-timeout={_LOCK_WAIT_MS}"]
    options += ["--exclude-schema=public", *_AS_NOBODY] if role is not None else ["--no-privileges", *_AS_NOBODY]
    options += [f"--role={role}"] if role is not None else []
    options += [f"--snapshot={snapshot}"] if snapshot is not None else []
    _run(program, url, [*options, f"--file={path}"])


def load_database(program: Path, url: str, path: Path, *, role: str | None = None) -> None:
    """Load a dump into an empty database, in one transaction; everything then belongs to the role, or to the login.

    Raises:
        DumpFailedError: the program's last words; the database is as empty as before.
    """
    options = ["--single-transaction", "--exit-on-error", *_AS_NOBODY]
    options += [f"--role={role}"] if role is not None else []
    _run(program, url, [*options, str(path)])


def _run(program: Path, url: str, options: Sequence[str]) -> None:
    facts = conninfo_to_dict(url)
    password = facts.pop("password", None)
    environment = {"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC"}
    if password is not None:
        # Seen by this user alone; a command line is seen by everyone.
        environment["PGPASSWORD"] = str(password)
    done = subprocess.run(
        [program, f"--dbname={make_conninfo('', **facts)}", "--no-password", *options],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        stdin=subprocess.DEVNULL,
        umask=_PRIVATE_UMASK,
    )
    if done.returncode != 0:
        words = " ".join(done.stderr.split())[-_WORDS_KEPT:] or f"exit status {done.returncode}"
        raise DumpFailedError(program.name, str(facts.get("dbname", "")), words)
