import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from morph_kernels.checkpoint.optimizer import optimizer_names, trainable_names
from morph_kernels.training import SeedCommand, SlotCommand
from morph_kernels.training.lifecycle import LEARNING, OCCUPIED, TRANSITIONS
from tests.support.growing_runs import WIDTH, growing_run


def train_once(run):
    run.model.train()
    run.optimizer.zero_grad(set_to_none=True)
    loss = run.forward(torch.randn(4, WIDTH)).square().mean()
    apart = run.isolated_loss()
    (loss if apart is None else loss + apart).backward()
    run.optimizer.step()
    run.after_step()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_optimizer_holds_what_learns_after_any_sequence_of_commands(data):
    run = growing_run()
    for _ in range(data.draw(st.integers(1, 12))):
        slot = data.draw(st.sampled_from(sorted(run.slots)))
        seed = run.slots[slot]
        allowed = [command for state, command in TRANSITIONS if state is seed.seed_state]
        allowed = [command for command in allowed if command is not SeedCommand.FAIL_LOAD]
        if not allowed:
            continue
        command = data.draw(st.sampled_from(allowed))
        if command is SeedCommand.STABILIZE:
            seed.ramp_step = seed.ramp_steps
        run.apply([SlotCommand(slot, command, "narrow_ffn")])
        train_once(run)
        (held,) = optimizer_names(run.optimizer, run.model)
        assert held == list(trainable_names(run.model))
        names = {id(parameter): name for name, parameter in run.model.named_parameters()}
        assert {names[id(parameter)] for parameter in run.optimizer.state} <= set(held)
        assert {graft.slot for graft in run.grafts()} == {n for n, s in run.slots.items() if s.seed_state in OCCUPIED}
        learning = {name.partition(".kernel.")[0] for name in held if ".kernel." in name}
        assert learning == {n for n, s in run.slots.items() if s.seed_state in LEARNING}
