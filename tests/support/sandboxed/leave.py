"""Leaves something that is no result where its parent will look for one."""

import os
import sys
from pathlib import Path

RESULT = Path("/morph/out/result.json")


def main(kind: str, target: str) -> None:
    if kind == "link":
        RESULT.symlink_to(target)
    elif kind == "pipe":
        os.mkfifo(RESULT)
    elif kind == "folder":
        RESULT.mkdir()
    elif kind == "huge":
        with RESULT.open("wb") as file:
            file.truncate(2**28)
    elif kind == "list":
        RESULT.write_text("[]")
    elif kind == "words":
        RESULT.write_text("done!")
    elif kind == "bomb":
        RESULT.write_text("[" * 500_000)


if __name__ == "__main__":
    main(*sys.argv[1:])
