"""Precompiled C++ headers: built once into a folder that every later build reads, instead of once a build.

Inductor keeps them in the temporary folder of the user, which is new in every sandbox; building them there costs some
twenty seconds a kernel. They are only ever kept from a build of our own blueprint: what a stranger's build leaves
behind must not reach the next one.
"""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from morph_kernels.canonical import canonical_bytes, sha256_hex
from morph_kernels.compile.sandbox import OUTPUT, SCRATCH

SHARED: Final = Path("/morph/headers")
WRITTEN: Final = OUTPUT / "headers"
# Where Inductor looks, given the sandbox's TMPDIR and USER.
_INSIDE: Final = SCRATCH / "torchinductor_morph" / "precompiled_headers"


def headers_folder(root: Path, *, toolchain: str, isa: str, pipeline: str) -> Path:
    """Return where the headers of one toolchain, instruction set and pipeline are kept below `root`."""
    key = sha256_hex(canonical_bytes({"isa": isa, "pipeline": pipeline, "toolchain": toolchain}))
    return root / key[:16]


def link_headers() -> None:
    """Inside the sandbox: put the shared headers where Inductor looks; it may still write others beside them."""
    if not SHARED.is_dir():
        return
    _INSIDE.mkdir(parents=True)
    for path in SHARED.iterdir():
        (_INSIDE / path.name).symlink_to(path)


def copy_headers_out() -> None:
    """Inside the sandbox: hand over the headers that this build made."""
    WRITTEN.mkdir()
    for path in _INSIDE.iterdir():
        if path.is_file():
            shutil.copy2(path, WRITTEN / path.name)


def keep_headers(written: Path, folder: Path) -> None:
    """Keep the headers that our own build wrote; of two at once the first wins, and half a copy is never seen."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".headers-", dir=folder.parent))
    try:
        for path in written.iterdir():
            shutil.copy2(path, staging / path.name, follow_symlinks=False)
        os.rename(staging, folder)  # noqa: PTH104 - fails where a full folder stands, and says so
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)


class HeadersLock:
    """Lets one process of this host prepare headers while the others wait for them; released by the kernel."""

    def __init__(self, folder: Path) -> None:
        self._path = folder.with_suffix(".lock")

    def __enter__(self) -> None:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def __exit__(self, *error: object) -> None:
        self._file.close()
