"""A compiled body inside the ways that people train: accumulation, checkpointing, an optimizer, several ranks."""

import shutil

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tests.support.kernel_rank import BATCH, BLUEPRINT, SIZES, STEPS, batches, data_parallel, train
from tests.support.ranks import run_ranks

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def mlp(compiled):
    return compiled("ffn_gelu")


def inputs(kernel, count, batch=8):
    return [kernel.blueprint.interface.example_inputs({"batch": batch}, seed=seed)[0] for seed in range(count)]


def gradients(module):
    return [p.grad.clone() for p in module.parameters()]


def alike(actual, expected, tolerance=1e-4):
    pairs = zip(actual, expected, strict=True)
    return all((one - other).norm() <= tolerance * other.norm().clamp_min(1e-6) for one, other in pairs)


def test_twenty_steps_of_adamw_lose_as_much_as_eager(mlp):
    losses = []
    for module in (mlp.module(seed=3), mlp.blueprint.build(3).train()):
        torch.manual_seed(9)
        optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
        run = []
        for x in inputs(mlp, 20):
            optimizer.zero_grad()
            loss = (module(x) - x.flip(1)).square().mean()
            loss.backward()
            optimizer.step()
            run.append(loss.item())
        losses.append(run)
    compiled, eager = losses
    assert compiled == pytest.approx(eager, rel=1e-4)
    assert eager[-1] < eager[0], "it did train"


def test_accumulated_gradients_are_those_of_eager(mlp):
    accumulated = []
    for module in (mlp.module(seed=3), mlp.blueprint.build(3).train()):
        torch.manual_seed(9)
        for x in inputs(mlp, 4):
            (module(x).square().mean() / 4).backward()
        accumulated.append(gradients(module))
    assert alike(*accumulated)


@pytest.mark.parametrize("reentrant", [False, True])
def test_activation_checkpointing_gives_the_same_gradients_and_dropout(mlp, reentrant):
    module, (x,) = mlp.module(seed=3), inputs(mlp, 1)
    results = []
    for wrapped in (lambda x: checkpoint(module, x, use_reentrant=reentrant), module):
        module.zero_grad()
        torch.manual_seed(9)
        y = wrapped(given := x.clone().requires_grad_())
        y.square().sum().backward()
        results.append([y.detach(), given.grad, *gradients(module)])
    assert alike(*results)
    assert module.calls["compiled"] >= 2


def test_no_grad_leaves_no_graph_and_the_next_step_is_whole(mlp):
    module, (x,) = mlp.module(seed=3), inputs(mlp, 1)
    with torch.no_grad():
        assert module(x).grad_fn is None
    module(x).sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_a_kernel_between_ordinary_layers_passes_gradients_both_ways(mlp):
    results = []
    for kernel in (mlp.module(seed=3), mlp.blueprint.build(3).train()):
        torch.manual_seed(1)
        host = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), kernel, nn.LayerNorm(64))
        (x,) = inputs(mlp, 1)
        (host(x) - x).square().mean().backward()
        results.append(gradients(host))
    assert alike(*results)


def test_two_ranks_keep_equal_gradients_and_train_as_one_process_does(compiled, tmp_path):
    kernel = compiled(BLUEPRINT)
    (tmp_path / "manifest").write_bytes(kernel.bundle.manifest)
    for path in (kernel.forward, kernel.backward):
        shutil.copyfile(path, tmp_path / path.name)
    (tmp_path / "files").write_text(f"manifest {kernel.forward.name} {kernel.backward.name}")
    answers = run_ranks(2, data_parallel, tmp_path)
    assert [calls for _, calls in answers] == [STEPS, STEPS]
    first, second = ([torch.tensor(numbers) for numbers in tensors] for tensors, _ in answers)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))
    alone = train(BLUEPRINT.build(7).train(), batches(0, 1))
    assert alike(first, [tensor.flatten() for tensor in alone], 1e-3)
    assert all(batch.shape[0] == BATCH and batch.shape[2] == SIZES["height"] for batch in batches(0, 1))
