"""Leaves many processes behind that hold a lock, ignore every signal and have much memory to give back.

With an argument it stays itself, and says through a pipe that all are there.
"""

import fcntl
import os
import signal
import sys
from pathlib import Path

OUTPUT = Path("/morph/out")
COPIES = 24
HELD_BYTES = 20_000_000


def main(*, stay: bool) -> None:
    lock = (OUTPUT / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    pipe = (OUTPUT / "pipe").open("w") if stay else None
    started, ready = os.pipe()
    for _ in range(COPIES):
        if os.fork() == 0:
            os.setsid()
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            held = bytearray(b"x") * HELD_BYTES
            os.write(ready, b"." * bool(held))
            while True:
                signal.pause()
    seen = 0
    while seen < COPIES:
        seen += len(os.read(started, COPIES))
    if pipe is not None:
        pipe.write("all are there\n")
        pipe.flush()
        signal.pause()


if __name__ == "__main__":
    main(stay=len(sys.argv) > 1)
