import pytest
import torch

from morph_kernels.training import SeedCommand, SeedState, SlotCommand, TransitionRefusedError
from morph_kernels.training.growth import CommandError
from morph_kernels.training.slot import SeedSlot, SlotShapeError
from tests.support.growing_runs import NARROW_FFN, WIDTH, Host, growing_run


def command(run, *commands):
    return run.apply([SlotCommand("slot_a", SeedCommand(name), "narrow_ffn") for name in commands[:1]])


def at_state(state):
    """A run whose first slot is in the state."""
    run = growing_run()
    path = ["germinate", "train", "graft", "stabilize", "evaluate", "fine_tune", "fossilize"]
    order = [
        SeedState(s)
        for s in ("germinated", "training", "grafting", "stabilization", "evaluating", "fine_tuning", "fossilized")
    ]
    for name in path[: order.index(state) + 1]:
        if name == "stabilize":
            run.slots["slot_a"].ramp_step = run.slots["slot_a"].ramp_steps
        command(run, name)
    return run


def host_gradients(run):
    return {
        name: parameter.grad.clone()
        for name, parameter in run.model.named_parameters()
        if parameter.grad is not None and ".kernel." not in name
    }


def one_step(run):
    """Return the host's output, gradients and the generator's state after one training step."""
    torch.manual_seed(42)
    run.model.train()
    output = run.forward(torch.randn(16, WIDTH))
    loss = output.square().mean()
    apart = run.isolated_loss()
    (loss if apart is None else loss + apart).backward()
    return output.detach(), host_gradients(run), torch.get_rng_state()


def test_a_dormant_slot_returns_the_very_tensor():
    x = torch.randn(2, 3)
    assert SeedSlot()(x) is x


def test_a_seed_in_training_leaves_the_host_bitwise_untouched_and_learns():
    bare, growing = growing_run(), at_state(SeedState.TRAINING)
    growing.model.load_state_dict(bare.model.state_dict(), strict=False)
    output, gradients, generator = one_step(bare)
    other_output, other_gradients, other_generator = one_step(growing)
    assert torch.equal(output, other_output)
    assert torch.equal(generator, other_generator)
    assert gradients.keys() == other_gradients.keys()
    assert all(torch.equal(gradients[name], other_gradients[name]) for name in gradients)
    kernel = growing.slots["slot_a"].kernel
    assert all(parameter.grad.abs().sum() > 0 for parameter in kernel.parameters())


def test_a_seed_in_training_has_a_stream_of_its_own_that_goes_on():
    run = at_state(SeedState.TRAINING)
    slot = run.slots["slot_a"]
    x = torch.ones(4, WIDTH)
    slot.train()
    losses = []
    for _ in range(2):
        slot(x)
        losses.append(slot.isolated_loss.item())
    assert losses[0] != losses[1]
    assert slot.eval()(x) is x
    assert slot.isolated_loss is None


def test_the_ramp_goes_from_exactly_the_host_to_exactly_the_kernel():
    run = at_state(SeedState.GRAFTING)
    slot = run.slots["slot_a"].eval()
    x = torch.randn(4, WIDTH)
    assert torch.equal(slot(x), x)
    alphas = []
    for _ in range(5):
        alphas.append(slot.alpha)
        run.after_step()
    assert alphas == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert torch.equal(slot(x), slot.kernel(x))


@pytest.mark.parametrize("state", ["germinated", "stabilization", "evaluating", "fossilized"])
def test_a_frozen_kernel_learns_nothing_and_the_host_still_does(state):
    run = at_state(SeedState(state))
    one_step(run)
    kernel = run.slots["slot_a"].kernel
    assert all(parameter.grad is None for parameter in kernel.parameters())
    assert run.model.first.weight.grad.abs().sum() > 0
    assert not kernel.training


@pytest.mark.parametrize("state", ["grafting", "fine_tuning"])
def test_a_grafted_kernel_learns_from_the_task(state):
    run = at_state(SeedState(state))
    run.slots["slot_a"].ramp_step = 2
    one_step(run)
    assert all(parameter.grad is not None for parameter in run.slots["slot_a"].kernel.parameters())
    assert run.isolated_loss() is None


def test_a_culled_seed_leaves_the_identity_behind():
    run = at_state(SeedState.GRAFTING)
    command(run, "cull")
    x = torch.randn(2, WIDTH)
    assert run.slots["slot_a"](x) is x
    assert not [name for name in run.model.state_dict() if "kernel" in name]
    assert run.grafts() == []


def test_a_failed_load_culls_the_seed_and_says_why():
    run = growing_run()
    done = run.apply([SlotCommand("slot_a", SeedCommand.GERMINATE, "nobody_knows")])
    assert [transition.after for transition in done] == [SeedState.GERMINATED, SeedState.CULLED]
    assert "nobody_knows" in done[1].why
    assert run.slots["slot_a"].kernel is None


def test_a_refused_command_changes_nothing():
    run = growing_run()
    good, bad = SlotCommand("slot_b", SeedCommand.GERMINATE, "narrow_ffn"), SlotCommand("slot_a", SeedCommand.GRAFT)
    with pytest.raises(TransitionRefusedError, match="'slot_a' is dormant and cannot graft; it allows germinate"):
        run.apply([good, bad])
    with pytest.raises(CommandError, match="no slot 'elsewhere'"):
        run.apply([good, SlotCommand("elsewhere", SeedCommand.GERMINATE)])
    with pytest.raises(CommandError, match="one command"):
        run.apply([good, good])
    assert run.slots["slot_b"].seed_state is SeedState.DORMANT


def test_stabilising_before_the_ramp_has_ended_is_refused():
    run = at_state(SeedState.GRAFTING)
    with pytest.raises(CommandError, match="blended in to 0%"):
        command(run, "stabilize")


def test_a_kernel_that_does_not_fit_is_said_so():
    slot = SeedSlot()
    slot.occupy(torch.nn.Linear(WIDTH, 3), seed=0)
    slot.enter(SeedState.FOSSILIZED)
    with pytest.raises(SlotShapeError, match=r"\[2, 3\] of \[2, 8\]"):
        slot(torch.zeros(2, WIDTH))


def test_the_first_parameters_follow_from_seed_slot_and_design():
    kernels = [at_state(SeedState.GERMINATED).slots["slot_a"].kernel for _ in range(2)]
    assert torch.equal(kernels[0].up.weight, kernels[1].up.weight)
    assert Host().slot_a.kernel is None
    assert NARROW_FFN.digest == kernels[0].blueprint.digest
