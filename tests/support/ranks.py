"""Several ranks of one training run as processes that talk gloo over a file, each started from the fork server."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import torch
import torch.distributed as dist

from tests.support.kill_storm import fork_server


def run_ranks(size: int, work: Callable[[int, str, dist.ProcessGroup], object], folder: Path) -> list[object]:
    """Run `work(rank, folder, group)` on every rank and return what each answered, by rank."""
    context = fork_server()
    rendezvous = (folder / f"rendezvous-{work.__name__}").as_uri()
    pipes = [context.Pipe(duplex=False) for _ in range(size)]
    processes = []
    for rank, (_, theirs) in enumerate(pipes):
        process = context.Process(
            target=_one_rank, args=(rank, size, rendezvous, work), kwargs={"folder": str(folder), "told": theirs}
        )
        process.start()
        theirs.close()
        processes.append(process)
    try:
        return [_answer(ours) for ours, _ in pipes]
    finally:
        _end(processes)


def _answer(ours: Connection) -> object:
    if not ours.poll(60):
        raise TimeoutError("a rank did not answer within 60 s")
    return ours.recv()


def _end(processes: list[multiprocessing.context.ForkServerProcess]) -> None:
    for process in processes:
        process.join(10)
        if process.is_alive():
            process.kill()
            process.join()


def _one_rank(rank, size, rendezvous, work, *, folder, told: Connection) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=size)
    group = dist.group.WORLD
    assert group is not None
    told.send(work(rank, folder, group))
    told.close()
    dist.barrier()
    dist.destroy_process_group()
