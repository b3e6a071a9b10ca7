"""A small host with two slots, and kernels that run eager."""

from pathlib import Path

import torch
from torch import nn

from morph_kernels.blueprint import Blueprint
from morph_kernels.errors import MorphError
from morph_kernels.training import EpochLoop, GrowingRun, SeedCommand, SeedSlot, SlotCommand
from tests.support.checkpoints import local_checkpointer

WIDTH = 8
NARROW_FFN = Blueprint.from_yaml("""
name: narrow_ffn
symbols:
  batch: [1, 64]
inputs:
  - {name: x, dtype: float32, shape: [batch, 8]}
outputs:
  - {name: y, dtype: float32, shape: [batch, 8], value: down}
nodes:
  - {id: up, op: linear, inputs: [x], attributes: {in_features: 8, out_features: 16}}
  - {id: activation, op: gelu, inputs: [up]}
  - {id: dropout, op: dropout, inputs: [activation], attributes: {p: 0.25}}
  - {id: down, op: linear, inputs: [dropout], attributes: {in_features: 16, out_features: 8}}
""")


class NoSuchKernelError(MorphError):
    """This source has only blueprints, and only eager bodies."""


class EagerKernels:
    """A kernel source without compiled bodies."""

    def load(self, what, *, seed=0):
        if isinstance(what, str):
            raise NoSuchKernelError(f"no blueprint {what!r}")
        kernel = what.build(seed=seed)
        kernel.blueprint, kernel.digest = what, None
        return kernel

    def load_pinned(self, blueprint, *, body):
        if body != "eager":
            raise NoSuchKernelError(f"no kernel {body}")
        return self.load(blueprint)

    def at_boundary(self, group=None):
        return group


class Host(nn.Module):
    """Two blocks with dropout, a slot behind each, and an in-place activation that would notice a careless slot."""

    def __init__(self, *, ramp_steps=4):
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.slot_a = SeedSlot(ramp_steps=ramp_steps)
        self.dropout = nn.Dropout(0.3)
        self.second = nn.Linear(WIDTH, WIDTH)
        self.slot_b = SeedSlot(ramp_steps=ramp_steps)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, x):
        x = self.slot_a(torch.nn.functional.relu(self.first(x)))
        x = self.slot_b(self.second(self.dropout(x)))
        return self.head(torch.nn.functional.relu_(x))


class Script:
    """A controller that does what a table says, epoch by epoch."""

    def __init__(self, table):
        self.table = table
        self.seen = []

    def decide(self, observation):
        self.seen.append(observation.epoch)
        return [
            SlotCommand(slot, SeedCommand(command), design)
            for slot, command, design in self.table.get(observation.epoch, [])
        ]

    def state_dict(self):
        return {"seen": list(self.seen)}

    def load_state_dict(self, state):
        self.seen = list(state["seen"])


WHOLE_LIFE = {
    1: [("slot_a", "germinate", "narrow_ffn")],
    2: [("slot_a", "train", None)],
    3: [("slot_a", "graft", None), ("slot_b", "germinate", "narrow_ffn")],
    4: [("slot_a", "stabilize", None), ("slot_b", "train", None)],
    5: [("slot_a", "evaluate", None), ("slot_b", "cull", None)],
    6: [("slot_a", "fine_tune", None)],
    7: [("slot_a", "fossilize", None), ("slot_b", "reset", None)],
}


def growing_run(*, seed=0, parts=None, **options):
    """A run with a fresh host; it seeds the global generator."""
    torch.manual_seed(seed)
    host = Host()
    optimizer = torch.optim.AdamW(host.parameters(), lr=1e-2)
    return GrowingRun(
        host, optimizer, kernels=EagerKernels(), blueprints={"narrow_ffn": NARROW_FFN}, parts=parts, **options
    )


def random_batches(epoch):
    """A few batches drawn from the global generator."""
    for _ in range(4 + epoch % 2):
        x = torch.randn(16, WIDTH)
        yield x, x.sum(dim=1).abs().long() % 3


def validate(model):
    """The loss on fixed data."""
    x = torch.linspace(-1, 1, 12 * WIDTH).reshape(12, WIDTH)
    return float(nn.functional.cross_entropy(model(x), torch.arange(12) % 3))


def epoch_loop(folder: Path | None, controller, *, seed=0, run=None):
    """A loop that saves into the folder."""
    run = run or growing_run(seed=seed, parts={"controller": controller})
    return EpochLoop(
        run,
        batches=random_batches,
        loss=nn.functional.cross_entropy,
        validate=validate,
        controller=controller,
        checkpointer=None if folder is None else local_checkpointer(folder),
    )


def bits(run) -> dict[str, bytes]:
    """Every bit of a run: model, optimizer by name, generator, seeds."""
    names = {id(parameter): name for name, parameter in run.model.named_parameters()}
    tensors = dict(run.model.state_dict()) | {"generator": torch.get_rng_state()}
    for parameter, values in run.optimizer.state.items():
        tensors |= {f"{names[id(parameter)]}/{key}": value for key, value in values.items()}
    found = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
    return found | {f"seed {name}": repr(seed).encode() for name, seed in run.seeds().items()}
