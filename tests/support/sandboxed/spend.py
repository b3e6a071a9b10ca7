"""Takes more of one thing than it may: wall time, CPU seconds, memory or bytes in a file."""

import signal
import sys
from pathlib import Path


def wall() -> None:
    signal.pause()


def cpu() -> None:
    while True:
        pass


def memory() -> None:
    bytearray(2**40)


def file() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    with Path("/morph/out/large").open("wb") as large:
        while True:
            large.write(bytes(2**20))


def file_quietly() -> None:
    Path("/morph/out/large").write_bytes(bytes(2**26))


if __name__ == "__main__":
    {"wall": wall, "cpu": cpu, "memory": memory, "file": file, "file_quietly": file_quietly}[sys.argv[1]]()
