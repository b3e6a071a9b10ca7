"""A kernel module inside a host that is itself compiled, and without any compiler at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.support.trap_kernel import TRAPS

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[2]


class Host(nn.Module):
    """A kernel module between layers that a compiler can trace."""

    def __init__(self, kernel: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.before, self.kernel, self.after = nn.Linear(64, 64), kernel, nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.kernel(torch.relu(self.before(x))).sin())


@pytest.fixture
def host(compiled):
    torch._dynamo.reset()
    yield Host(compiled("ffn_gelu").module(seed=4))
    torch._dynamo.reset()


@pytest.mark.parametrize("body", ["compiled", "eager"])
def test_a_compiled_host_has_one_graph_break_at_the_kernel(host, body):
    if body == "eager":
        host.kernel.use_eager()
    explained = torch._dynamo.explain(host)(torch.ones(5, 64))
    assert (explained.graph_break_count, explained.graph_count) == (1, 2)
    assert "a kernel module chooses its body at every call" in explained.break_reasons[0].reason
    assert set(host.kernel.calls) <= {"compiled", "requested"}


def test_a_compiled_host_gives_the_values_and_gradients_of_the_plain_one(host):
    x = torch.linspace(-1, 1, 5 * 64).view(5, 64)
    results = []
    for run in (host, torch.compile(host, backend="aot_eager")):
        torch.manual_seed(0)
        y = run(x)
        results.append([y, *torch.autograd.grad(y.square().sum(), list(host.parameters()))])
    assert host.kernel.calls == {"compiled": 2}
    for plain, compiled_host in zip(*results, strict=True):
        assert torch.allclose(plain, compiled_host, rtol=1e-5, atol=1e-6)


def test_a_change_of_body_is_seen_by_a_compiled_host(host):
    run, x = torch.compile(host, backend="aot_eager"), torch.ones(5, 64)
    run(x)
    host.kernel.use_eager()
    run(x)
    assert host.kernel.calls == {"compiled": 1, "requested": 1}


def test_a_host_that_forbids_graph_breaks_is_told_why(host):
    with pytest.raises(torch._dynamo.exc.Unsupported, match="chooses its body"):
        torch.compile(host, backend="eager", fullgraph=True)(torch.ones(5, 64))


def test_a_step_with_a_compiled_body_imports_no_compiler(compiled, tmp_path):
    kernel = compiled(TRAPS)
    manifest = tmp_path / "manifest"
    manifest.write_bytes(kernel.bundle.manifest)
    said = subprocess.run(
        [sys.executable, "-m", "tests.support.compiler_free", manifest, kernel.forward, kernel.backward],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (said.returncode, said.stdout.strip()) == (0, "[]"), said.stderr[-400:]
