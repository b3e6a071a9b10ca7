"""Loads kernels as training would, each load in a process of its own, forked from one that has imported everything.

Run as `python -m morph_assets.bench.load_server`; reads a JSON list of orders a line, answers with their replies.
"""

import contextlib
import ctypes
import importlib
import json
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

DiskState = Literal["usable", "read-only", "full"]
_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 0x4000, 0x40000
# Room for an index and the folders, not for a kernel.
_SMALL_DISK = b"size=192k,mode=700"


@dataclass(frozen=True)
class LoadOrder:
    """One load: where the tiers are, and what happens to the process meanwhile.

    `clock_s`: how far the wall clock jumps once the loader is open. `kill_at`: the change of the disk, the first is
    one, in which the process is killed; a write is then half done.
    """

    blueprint: str
    name: str
    cache_dir: str
    trust_file: str
    tenant: str
    store_url: str | None = None
    redis_url: str | None = None
    deadline_s: float = 2.0
    clock_s: int = 0
    kill_at: int = 0
    disk: DiskState = "usable"


@dataclass(frozen=True)
class LoadReply:
    """How a load went. `error` is an exception that reached the caller; `died` the signal that ended the process."""

    source: str = ""
    reason: str | None = None
    seconds: float = 0.0
    changes: int = 0
    error: str | None = None
    died: int = 0

    @property
    def answer(self) -> str:
        """The tier, or eager and why."""
        if self.died:
            return f"ended by signal {self.died}"
        return self.error or (self.source if self.reason is None else f"{self.source}: {self.reason}")


def main() -> None:
    """Import what a load needs, then fork a process for every order of a line, all of them at once."""
    import obstore  # noqa: F401 - imported once, so that a fork's time is the load's
    import redis  # noqa: F401 - the same
    import torch

    import morph_kernels.loader  # noqa: F401 - the same

    torch.set_num_threads(1)
    _tell(1, "ready")
    for line in sys.stdin:
        started = [_fork(LoadOrder(**order)) for order in json.loads(line)]
        replies = [_collect(pid, pipe) for pid, pipe in started]
        _import_alike(reply.pop("modules") for reply in replies)
        _tell(1, replies)


def _import_alike(loads: Iterable[Iterable[str]]) -> None:
    """Import what loads imported late, so that later ones do not; a library that starts threads could not be forked."""
    for name in {name for modules in loads for name in modules} - set(sys.modules):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _fork(order: LoadOrder) -> tuple[int, int]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    os.close(reading)
    try:
        reply = _carry_out(order)
    except Exception as error:  # noqa: BLE001 - whatever reaches the caller is what is measured
        reply = LoadReply(error=f"{type(error).__name__}: {error}"[:200])
    _tell(writing, asdict(reply) | {"modules": list(sys.modules)})
    # As it is: threads that still wait for a server, and what they would write later, are none of this load's.
    os._exit(0)


def _collect(pid: int, pipe: int) -> dict[str, Any]:
    with os.fdopen(pipe) as told:
        text = told.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return asdict(LoadReply(died=os.WTERMSIG(status))) | {"modules": []}
    reply: dict[str, Any] = json.loads(text)
    return reply


def _carry_out(order: LoadOrder) -> LoadReply:
    from morph_kernels.blueprint import Blueprint
    from morph_kernels.loader import KernelLoader
    from morph_kernels.settings import Endpoints, RuntimeSettings

    blueprint = Blueprint.from_bytes(Path(order.blueprint).read_bytes(), name=order.name)
    endpoints = Endpoints(
        store_url=order.store_url, redis_url=order.redis_url, trust_file=Path(order.trust_file), trust_root=None
    )
    settings = RuntimeSettings(
        endpoints=endpoints, tenant=order.tenant, cache_dir=Path(order.cache_dir), deadline_s=order.deadline_s
    )
    if order.disk != "usable":
        _remount(order.cache_dir, order.disk)
    interposed = ctypes.CDLL(None)
    if order.kill_at:
        interposed.bench_count_changes(order.kill_at)
    started = time.perf_counter()
    loader = KernelLoader(settings)
    if order.clock_s:
        interposed.bench_shift_clock(ctypes.c_long(order.clock_s))
    module = loader.load(blueprint)
    seconds = time.perf_counter() - started
    changes = int(interposed.bench_changes()) if order.kill_at else 0
    _train(module)
    return LoadReply(module.source, module.reason and str(module.reason), seconds, changes)


def _train(module: Any) -> None:
    """Train one step and compare it with the blueprint's own module."""
    import torch

    eager = module.blueprint.build(seed=0).train()
    inputs = module.blueprint.interface.example_inputs(dict.fromkeys(module.blueprint.interface.symbols, 4))
    results = []
    for one in (module.train(), eager):
        torch.manual_seed(3)  # the same dropout
        output = one(*inputs)
        output.square().mean().backward()
        results.append([output.detach(), *(parameter.grad for parameter in one.parameters())])
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-4, atol=1e-5)


def _remount(folder: str, disk: DiskState) -> None:
    """Make a folder read-only, or a disk of its own that is too small, for this process alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    _check(libc.unshare(_CLONE_NEWNS | _CLONE_NEWUSER))
    Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
    Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
    Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    _check(libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None))
    place = folder.encode()
    if disk == "full":
        _check(libc.mount(b"tmpfs", place, b"tmpfs", 0, _SMALL_DISK))
        return
    _check(libc.mount(place, place, None, _MS_BIND, None))
    _check(libc.mount(None, place, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY, None))


def _check(failed: int) -> None:
    if failed:
        raise OSError(ctypes.get_errno(), "cannot give the load a disk of its own")


def _tell(file: int, document: object) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(file, json.dumps(document).encode() + b"\n")


if __name__ == "__main__":
    main()
