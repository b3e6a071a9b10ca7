"""Kernels that are well made, signed and evaluated, and whose forward library ends the process at its first call.

Each is a really compiled kernel behind a small library of its own: the linker finds the call in that library, and
everything else in the compiled one.
"""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.manifest import Library
from morph_kernels.canonical import sha256_hex
from morph_kernels.identity import BlobDigest
from tests.support.kernels import TestKernel
from tests.support.traps import remade

_SOURCE = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
typedef int (*run_t)(void*, void**, size_t, void**, size_t, void*, void*);
int AOTInductorModelContainerRun(void* c, void** in, size_t n, void** out, size_t m, void* stream, void* proxy) {
    if (access(ARMED, F_OK) == 0) {
        if (ONCE) unlink(ARMED);
        DIE;
    }
    run_t run = (run_t)dlsym(dlopen(REAL, RTLD_NOW | RTLD_NOLOAD), "AOTInductorModelContainerRun");
    return run(c, in, n, out, m, stream, proxy);
}
"""
DEATHS = {
    "SIGILL": "__builtin_trap()",
    "SIGSEGV": "*(volatile int*)0 = 1",
    "SIGFPE": "{ volatile int one = 1, zero = 0; one = one / zero; }",
    "SIGABRT": "abort()",
    "SIGKILL": "kill(getpid(), SIGKILL)",
}


def crashing_kernel(like: TestKernel, death: str, folder: Path, *, once: bool = False) -> TestKernel:
    """Return a kernel like another, whose forward dies so whenever the file `armed` is in the folder.

    With `once` it removes the file first, so that the next process finds it healthy.
    """
    (folder / "armed").touch()
    source, library = folder / "crash.c", folder / "crash.so"
    source.write_text(_SOURCE)
    defines = {
        "ARMED": f'"{folder / "armed"}"',
        "REAL": f'"{like.forward}"',
        "ONCE": int(once),
        "DIE": DEATHS[death],
    }
    command = ["gcc", "-O0", "-shared", "-fPIC", *(f"-D{name}={value}" for name, value in defines.items())]
    command += ["-o", str(library), str(source), "-Wl,--no-as-needed", str(like.forward)]
    subprocess.run(command, check=True, env={"PATH": os.environ["PATH"]})
    data = library.read_bytes()
    forward = Library("forward", BlobDigest(sha256_hex(data)), len(data))
    manifest = remade(replace(like.manifest, libraries=(forward, like.manifest.libraries[1])))
    libraries = {**like.bundle.libraries, "forward": data}
    return replace(like, manifest=manifest, bundle=KernelBundle(manifest.to_bytes(), libraries))
