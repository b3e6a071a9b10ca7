"""What a program flushes to disk, seen from outside: a library in front of the C library's `fsync` writes it down."""

import shutil
import subprocess
import sys
from pathlib import Path

_SOURCE = Path(__file__).with_suffix(".c")


def flushed_by(script: str, *arguments: str, folder: Path) -> list[str]:
    """Run a Python script and return the paths that it flushed, in order, between the lines that it printed itself.

    `folder` is where the library is built and the witness writes.
    """
    library, witness = folder / "flush_witness.so", folder / "flushed"
    compiler = shutil.which("g++") or "g++"
    subprocess.run([compiler, "-x", "c", "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl"], check=True)
    with witness.open("a", encoding="utf-8") as printed:
        subprocess.run(
            [sys.executable, "-c", script, *arguments],
            check=True,
            stdout=printed,
            env={"PYTHONPATH": "kernels", "LD_PRELOAD": str(library), "FLUSH_WITNESS": str(witness)},
        )
    return witness.read_text(encoding="utf-8").splitlines()
