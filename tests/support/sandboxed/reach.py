"""Tries to read, write and connect to what its request names, and reports how each try ended."""

import ctypes
import errno
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

MS_REMOUNT_BIND = 32 | 4096
OUTPUT = Path("/morph/out")


def attempt(act: Callable[[], object]) -> str:
    try:
        act()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def connect(address: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as connection:
        connection.settimeout(2)
        connection.connect((address, port))


def connect_unix(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect("\0" + name)


def remount_writable(path: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(None, path.encode(), None, MS_REMOUNT_BIND, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def main() -> None:
    request = json.loads(Path("/morph/in/request.json").read_text())
    scratch = os.statvfs("/morph/scratch")
    report = {
        "read": {path: attempt(lambda p=path: Path(p).stat()) for path in request["read"]},
        "write": {path: attempt(lambda p=path: Path(p).open("ab").close()) for path in request["write"]},
        "connect": {address: attempt(lambda a=address: connect(a, request["port"])) for address in request["connect"]},
        "unix": attempt(lambda: connect_unix(request["unix"])),
        "remount": {
            path: attempt(lambda p=path: remount_writable(p)) for path in ("/usr", "/morph/in", "/morph/code/sandboxed")
        },
        "environment": dict(os.environ),
        "processes": [name for name in os.listdir("/proc") if name.isdigit()],  # noqa: PTH208 - names are what it reports
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,  # noqa: PTH208 - one of them is the listing's own
        "capabilities": [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Cap")],
        "scratch_bytes": scratch.f_blocks * scratch.f_frsize,
    }
    (OUTPUT / "result.json").write_text(json.dumps(report))


if __name__ == "__main__":
    main()
