"""Each silent fault of compiling ahead of time, looked for where it would show.

`docs/invariants.md` says what was broken to see each of these fail.
"""

import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from morph_kernels.artifact.manifest import KernelManifest
from morph_kernels.compile import headers
from morph_kernels.compile.builder import plan_build, prepare_headers
from morph_kernels.compile.sandbox import Limits
from morph_kernels.loader.body import BodyLoadError, CompiledBody
from morph_kernels.reasons import Reason
from tests.support.trap_kernel import CONVOLUTIONS, TRAPS

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def traps(compiled):
    return compiled(TRAPS)


@pytest.fixture(scope="module")
def mlp(compiled):
    return compiled("ffn_gelu")


def relative(actual, expected):
    return ((actual - expected).norm() / expected.norm().clamp_min(1e-9)).item()


def both(kernel, **sizes):
    """Return output and gradients, compiled in float32 and eager in float64, of the same state and inputs."""
    (x,) = kernel.blueprint.interface.example_inputs(sizes, seed=1)
    module, exact = kernel.module(seed=2), kernel.blueprint.build(2).double().train()
    answers = []
    for one, given in ((module, x.clone()), (exact, x.double())):
        y = one(given.requires_grad_())
        tangent = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
        gradients = torch.autograd.grad(y, [given, *one.parameters()], tangent)
        answers.append([y.detach(), *gradients])
    assert module.calls == {"compiled": 1}
    return zip(*answers, strict=True)


@pytest.mark.parametrize(("batch", "seq"), [(1, 2), (1, 64), (3, 5), (64, 64), (4096, 2)])
def test_two_sizes_that_the_backward_needs_give_the_right_gradients(traps, batch, seq):
    for actual, exact in both(traps, batch=batch, seq=seq):
        assert relative(actual, exact) <= 5e-4


def test_saved_activations_keep_the_strides_that_they_were_traced_with(compiled):
    kernel = compiled(CONVOLUTIONS)
    (x,) = CONVOLUTIONS.interface.example_inputs({})
    saved = kernel.module()(x).grad_fn.saved_tensors
    assert any(rule.source == "library" for rule in kernel.manifest.convention.saved)
    assert all(tensor.is_contiguous() for tensor in saved), [tensor.stride() for tensor in saved]
    for actual, exact in both(kernel):
        assert relative(actual, exact) <= 5e-4


@pytest.mark.parametrize(("batch", "seq"), [(2, 2), (2, 64), (5, 7), (64, 33)])
def test_attention_equals_eager_at_both_ends_of_its_ranges(compiled, batch, seq):
    for actual, exact in both(compiled("causal_attention"), batch=batch, seq=seq):
        assert relative(actual, exact) <= 5e-4


@pytest.mark.parametrize("name", ["ffn_gelu", "conv_residual_batchnorm", "traps"])
def test_the_backward_overwrites_neither_saved_tensors_nor_the_tangent(compiled, traps, name):
    kernel = traps if name == "traps" else compiled(name)
    sizes = {symbol: min(9, r.max) for symbol, r in kernel.blueprint.interface.symbols.items()}
    (x,) = kernel.blueprint.interface.example_inputs(sizes)
    module = kernel.module()
    y = module(x.requires_grad_())
    tangent = torch.linspace(-1, 1, y.numel()).view_as(y)
    watched = [*y.grad_fn.saved_tensors, tangent]
    before = [tensor.detach().clone() for tensor in watched]
    wanted = [x, *module.parameters()]
    first = torch.autograd.grad(y, wanted, tangent, retain_graph=True)
    assert all(torch.equal(tensor, copy) for tensor, copy in zip(watched, before, strict=True))
    second = torch.autograd.grad(y, wanted, tangent)
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("threads", [1, 3, 16])
def test_a_sum_over_everything_is_right_with_other_threads_than_the_builders(traps, tmp_path, threads):
    paths = (tmp_path / "manifest", traps.forward, traps.backward)
    paths[0].write_bytes(traps.bundle.manifest)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.support.threaded_kernel", *(str(path) for path in paths), str(threads)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 0, f"ended with {ended.returncode}: {ended.stderr[-500:]}"


@pytest.mark.parametrize("role", ["forward", "backward"])
def test_a_library_for_v3_holds_no_wider_instruction(mlp, role):
    assert mlp.manifest.target.isa == "x86-64-v3"
    code = subprocess.run(
        [shutil.which("objdump") or "objdump", "--disassemble", "--no-show-raw-insn", getattr(mlp, role)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert "%ymm" in code, "vectorised as far as the target allows"
    assert "%zmm" not in code
    assert "%k1" not in code, "mask registers are AVX-512 too"


def test_sizes_outside_the_covered_ranges_run_eager_and_are_counted(traps):
    assert traps.manifest.convention.ranges == {"batch": (1, 4096), "seq": (2, 64)}
    module = traps.module()
    (x,) = TRAPS.interface.example_inputs({"batch": 4, "seq": 1})
    assert torch.equal(module(x), TRAPS.build(0)(x))
    assert module.calls == {Reason.OUT_OF_RANGE: 1}


def test_a_path_that_does_not_carry_the_digest_is_never_loaded(mlp, tmp_path):
    """The linker answers a path that it has seen with the bytes that it saw, whatever lies there now."""
    reused = tmp_path / "kernel.so"
    shutil.copyfile(mlp.forward, reused)
    with pytest.raises(BodyLoadError, match="not named by its content"):
        CompiledBody(mlp.manifest, forward=reused, backward=mlp.backward)


def test_two_kernels_in_one_process_answer_each_for_itself(traps, mlp):
    (x,) = TRAPS.interface.example_inputs({"batch": 3, "seq": 4})
    (z,) = mlp.blueprint.interface.example_inputs({"batch": 3})
    assert relative(traps.module()(x), TRAPS.build(0)(x)) <= 5e-4
    assert mlp.module()(z).shape == (3, 64)


def test_a_library_that_does_not_load_leaves_nothing_behind(mlp, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    script = (
        "import sys; from pathlib import Path; from morph_kernels.artifact.manifest import parse_manifest\n"
        "from morph_kernels.loader.body import BodyLoadError, CompiledBody\n"
        "manifest, forward, backward = map(Path, sys.argv[1:])\n"
        "try: CompiledBody(parse_manifest(manifest.read_bytes()), forward=forward, backward=backward)\n"
        "except BodyLoadError as error: print(error)\n"
    )
    (tmp_path / "manifest").write_bytes(mlp.bundle.manifest)
    damaged = tmp_path / mlp.forward.name
    damaged.write_bytes(b"no library" * 100)
    ended = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "manifest", damaged, mlp.backward],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(kept)},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert "cannot load" in ended.stdout
    assert list(kept.iterdir()) == []


def test_a_loaded_body_is_shared_by_copies_and_never_copied(mlp):
    body = mlp.body()
    assert copy.deepcopy({"kept": body})["kept"] is body
    assert copy.deepcopy(mlp.module())._bound.body is body


def test_changed_buffers_are_known_to_autograd(compiled):
    kernel = compiled("conv_residual_batchnorm")
    assert kernel.manifest.convention.mutated_buffers
    module = kernel.module()
    (x,) = kernel.blueprint.interface.example_inputs({"batch": 4})
    before = {name: buffer._version for name, buffer in module.named_buffers()}
    used = module.get_buffer("bn1.running_mean").clone().requires_grad_()
    remembered = used * module.get_buffer("bn1.running_mean")
    module(x)
    changed = {name for name, buffer in module.named_buffers() if buffer._version > before[name]}
    assert changed == set(kernel.manifest.convention.mutated_buffers)
    with pytest.raises(RuntimeError, match="inplace"):
        remembered.sum().backward()


def test_headers_are_made_once_and_no_build_can_write_into_them(kernel_cache, traps, sandbox):
    del traps  # built with the shared headers, so they exist
    plan = plan_build(TRAPS)
    folder = prepare_headers(kernel_cache / "headers", plan, limits=Limits(wall_s=0))
    assert any(path.suffix == ".gch" for path in folder.iterdir())
    name = next(folder.iterdir()).name
    request = {"write": [f"{headers.SHARED}/{name}", f"{headers.SHARED}/new"], "read": [f"{headers.SHARED}/{name}"]}
    report = sandbox("reach", request={"connect": [], "port": 0, "unix": "x", **request}, see={headers.SHARED: folder})
    assert set(report.result()["write"].values()) == {"EROFS"}
    assert set(report.result()["read"].values()) == {"done"}


def test_a_kernel_says_which_recipe_and_toolchain_made_it(mlp):
    manifest: KernelManifest = mlp.manifest
    assert manifest.build_key == plan_build(mlp.blueprint).key
    assert manifest.toolchain.startswith("torch-2.")
