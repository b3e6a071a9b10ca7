"""Makes a home folder and refuses, in one line, one that cannot work."""

import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from morph_assets.devservices.errors import HomeUnusableError, ServicesError, UnsupportedPlatformError
from morph_assets.devservices.layout import HomeLayout
from morph_kernels.durable_file import replace_file

HOME_FORMAT = 1
_MAX_SOCKET_BYTES = 107  # sun_path holds 108, the last is the terminating zero
_LONGEST_PORT = 65535


@dataclass(frozen=True)
class HostPlatform:
    """What the servers' binaries depend on, in Python's own words."""

    system: str
    machine: str
    libc: str


def this_platform() -> HostPlatform:
    """Return the platform of this process."""
    return HostPlatform(sys.platform, platform.machine(), platform.libc_ver()[0])


def require_supported_platform(host: HostPlatform) -> None:
    """Refuse anything but Linux x86-64 with glibc.

    Raises:
        UnsupportedPlatformError: the message names what was found.
    """
    if host != HostPlatform("linux", "x86_64", "glibc"):
        raise UnsupportedPlatformError(f"{host.system} {host.machine} with {host.libc or 'an unknown libc'}")


def is_home(home: Path) -> bool:
    """Return whether the folder carries our marker."""
    try:
        document = json.loads(HomeLayout(home).marker.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("format") == HOME_FORMAT


def make_home(home: Path) -> HomeLayout:
    """Make the home folder itself, private; one that is there is left as it is.

    Raises:
        HomeUnusableError: a socket's path is too long, or the folder is somebody else's.
    """
    layout = HomeLayout(home)
    longest = len(os.fsencode(layout.postgres_socket(_LONGEST_PORT)))
    if longest > _MAX_SOCKET_BYTES:
        raise HomeUnusableError(
            home,
            f"is {longest - _MAX_SOCKET_BYTES} bytes too long for a unix socket in it",
            "set MORPH_HOME to a short path such as ~/.morph",
        )
    with _one_line(home):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if home.stat().st_uid != os.geteuid():
        raise HomeUnusableError(home, "belongs to another user")
    return layout


def fill_home(layout: HomeLayout) -> None:
    """Mark the folder as ours and make those inside it, as the holder of its lock; again: nothing changes.

    Raises:
        HomeUnusableError: there are other things in it, or it cannot be written.
    """
    home = layout.home
    with _one_line(home):
        if not is_home(home):
            _require_ours(layout)
            home.chmod(0o700)
            replace_file(layout.marker, json.dumps({"format": HOME_FORMAT}).encode())
        for folder in (layout.run, layout.logs, layout.objects, layout.valkey_data):
            folder.mkdir(mode=0o700, exist_ok=True)
        if not os.access(home, os.W_OK | os.X_OK):
            raise HomeUnusableError(home, "cannot be written")


@contextmanager
def _one_line(home: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise HomeUnusableError(home, f"cannot be written ({error.strerror})") from error


def _require_ours(layout: HomeLayout) -> None:
    known = {path.name for path in _paths(layout)} | {"cache", "demo"}
    strangers = sorted(entry.name for entry in layout.home.iterdir() if entry.name not in known)
    if strangers:
        raise HomeUnusableError(
            layout.home, f"holds {strangers[0]!r}, so it is no Morph home", "choose an empty folder"
        )


def _paths(layout: HomeLayout) -> list[Path]:
    return [getattr(layout, name) for name, member in vars(HomeLayout).items() if isinstance(member, property)]


def require_purgeable(home: Path) -> None:
    """Refuse to delete a folder that is not a Morph home.

    Raises:
        ServicesError: the marker is missing, or the path is a link.
    """
    if home.is_symlink() or not is_home(home):
        raise ServicesError(f"{home} is not a Morph home (home.json is missing): nothing was deleted")
