"""Decides under which identity a server runs: PostgreSQL refuses to be root."""

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from morph_assets.devservices.errors import HomeUnusableError
from morph_assets.devservices.layout import HomeLayout
from morph_assets.devservices.process import SpawnUser

_NOBODY = 65534


def choose_user() -> SpawnUser:
    """Return how to start a server: as ourselves, or, being root, in a user namespace, or else as nobody."""
    if os.geteuid() != 0:
        return SpawnUser()
    unshare = shutil.which("unshare")
    if unshare is not None:
        wrapper = (unshare, "--user", f"--map-user={_NOBODY}", f"--map-group={_NOBODY}", "--")
        if subprocess.run([*wrapper, "/bin/true"], check=False, capture_output=True).returncode == 0:
            return SpawnUser(wrapper=wrapper)
    return SpawnUser(uid=_NOBODY)


def hand_over(layout: HomeLayout, user: SpawnUser, *, binaries: Iterable[Path]) -> None:
    """Give the servers' folders to the identity they run under, also after it changed.

    Raises:
        HomeUnusableError: that identity cannot reach the folders or the servers' programs.
    """
    if user.uid is not None:
        layout.home.chmod(0o711)  # may be passed through, not listed; all that is secret in it is 0600 or 0700
    for folder in (layout.run, layout.valkey_data, layout.postgres_data, layout.postgres_draft):
        if folder.exists() and folder.stat().st_uid != user.owner_uid:
            _change_owner(folder, user.owner_uid)
    if user.uid is not None:
        for path in (layout.run, *binaries):
            _require_reachable(layout.home, path, user.uid)


def give(user: SpawnUser, path: Path) -> None:
    """Give one file or folder to the identity the servers run under."""
    if path.stat().st_uid != user.owner_uid:
        os.chown(path, user.owner_uid, user.owner_uid)


def _change_owner(folder: Path, uid: int) -> None:
    os.chown(folder, uid, uid)
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(Path(root) / name, uid, uid, follow_symlinks=False)


def _require_reachable(home: Path, path: Path, uid: int) -> None:
    found = subprocess.run(["/usr/bin/test", "-x", path], check=False, user=uid, group=uid, extra_groups=(), cwd="/")
    if found.returncode != 0:
        raise HomeUnusableError(
            home,
            f"cannot be used as root here: the servers run as nobody, who cannot reach {path}",
            "run as an ordinary user, or set MORPH_HOME below a folder that everyone may enter, such as /var/lib/morph",
        )
