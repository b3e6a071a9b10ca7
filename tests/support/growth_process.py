"""A training process that is to be killed: it grows, saves, and tells what it has saved."""

from multiprocessing.connection import Connection
from pathlib import Path

import torch

from tests.support.growing_runs import WHOLE_LIFE, Script, epoch_loop


def train_and_tell(folder: str, epochs: int, told: Connection) -> None:
    """Train from the start; tell each epoch that is saved, then go on until killed."""
    torch.set_num_threads(1)
    loop = epoch_loop(Path(folder), Script(WHOLE_LIFE))
    for epoch in range(1, epochs + 1):
        loop.run_epochs(epoch)
        told.send(epoch)
