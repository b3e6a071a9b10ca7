"""Two small libraries in C, built when a benchmark starts: one turns clocks and kills at a write, one is a trap."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from morph_kernels.errors import MorphError

# System calls rather than the next definition: what is loaded first must not need the dynamic linker to be ready.
_INTERPOSER = """
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift_s, kill_at, changes;
static int counting;

void bench_shift_clock(long seconds) { shift_s = seconds; }
void bench_count_changes(long at) { changes = 0; kill_at = at; counting = 1; }
long bench_changes(void) { return changes; }

static int last(void) { return counting && __atomic_add_fetch(&changes, 1, __ATOMIC_SEQ_CST) == kill_at; }
static void before_change(void) { if (last()) kill(getpid(), SIGKILL); }

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift_s;
    return failed;
}
time_t time(time_t *into) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into) *into = now.tv_sec;
    return now.tv_sec;
}
int gettimeofday(struct timeval *restrict into, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    into->tv_sec = now.tv_sec;
    into->tv_usec = now.tv_nsec / 1000;
    return 0;
}
ssize_t write(int file, const void *data, size_t size) {
    struct stat is;
    if (counting && !fstat(file, &is) && S_ISREG(is.st_mode) && last()) {
        syscall(SYS_write, file, data, size / 2);
        kill(getpid(), SIGKILL);
    }
    return syscall(SYS_write, file, data, size);
}
int fsync(int file) { before_change(); return (int)syscall(SYS_fsync, file); }
int fdatasync(int file) { before_change(); return (int)syscall(SYS_fdatasync, file); }
int rename(const char *from, const char *to) { before_change(); return (int)syscall(SYS_rename, from, to); }
int renameat(int a, const char *from, int b, const char *to) {
    before_change();
    return (int)syscall(SYS_renameat, a, from, b, to);
}
int link(const char *from, const char *to) { before_change(); return (int)syscall(SYS_link, from, to); }
int mkdir(const char *path, mode_t mode) { before_change(); return (int)syscall(SYS_mkdir, path, mode); }
int unlink(const char *path) { before_change(); return (int)syscall(SYS_unlink, path); }
"""
_TRAP = """
#include <fcntl.h>
#include <unistd.h>
__attribute__((constructor)) static void sprung(void) {
    int file = open(MARKER, O_WRONLY | O_CREAT, 0600);
    if (file >= 0) close(file);
}
"""


class NoCompilerError(MorphError):
    """There is no C compiler, so the faults that need one cannot be made."""


@dataclass(frozen=True)
class Trap:
    """A library that writes a file as soon as any process links it."""

    library: bytes
    marker: Path

    @property
    def was_sprung(self) -> bool:
        """Whether anybody executed it."""
        return self.marker.exists()


def build_interposer(folder: Path) -> Path:
    """Return a library to load before all others; a process says by `ctypes` what it should do.

    Raises:
        NoCompilerError: it cannot be built.
    """
    return _build(folder, "interposer", _INTERPOSER)


def build_trap(folder: Path) -> Trap:
    """Return a trap whose marker lies in the folder.

    Raises:
        NoCompilerError: it cannot be built.
    """
    marker = folder / "sprung"
    return Trap(_build(folder, "trap", _TRAP, f'-DMARKER="{marker}"').read_bytes(), marker)


def _build(folder: Path, name: str, source: str, *options: str) -> Path:
    library = folder / f"{name}.so"
    (folder / f"{name}.c").write_text(source, encoding="utf-8")
    # Optimised only as far as a shared object needs: the functions are their own system calls.
    command = ["gcc", "-O1", "-shared", "-fPIC", *options, "-o", str(library), str(folder / f"{name}.c")]
    try:
        subprocess.run(command, check=True, capture_output=True, env={"PATH": os.environ["PATH"]})
    except (OSError, subprocess.CalledProcessError) as error:
        raise NoCompilerError(f"cannot build {name}.so with gcc: {error}") from error
    return library
