"""A compiled body against the eager one: same values, same gradients, same random numbers, and never a wrong answer."""

import copy
import pickle

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils.flop_counter import FlopCounterMode

from morph_kernels.blueprint import library
from morph_kernels.loader.body import BatchedBackwardError, DoubleBackwardError
from morph_kernels.loader.fit import InterfaceMismatchError
from morph_kernels.loader.module import KernelModule
from morph_kernels.reasons import Reason

pytestmark = pytest.mark.slow

NAMES = ("ffn_gelu", "squeeze_excite", "conv_residual_batchnorm")


class Marked(torch.Tensor):
    """A subclass may do anything in its operations, which a library would not."""


@pytest.fixture(scope="module", params=NAMES)
def kernel(request, compiled):
    return compiled(request.param)


@pytest.fixture(scope="module")
def mlp(compiled):
    return compiled("ffn_gelu")


def example(kernel, batch=5, **sizes):
    symbols = {name: min(7, r.max) for name, r in kernel.blueprint.interface.symbols.items()}
    (x,) = kernel.blueprint.interface.example_inputs(symbols | {"batch": batch} | sizes)
    return x


def run(module, x, seed=3):
    """Run forward and backward under a seed; return output, input gradient, parameter gradients, generator state."""
    x = x.clone().requires_grad_()
    torch.manual_seed(seed)
    y = module(x)
    state = torch.get_rng_state()
    y.backward(torch.ones_like(y).mul_(0.5))
    return y.detach(), x.grad, {name: p.grad for name, p in module.named_parameters()}, state


def close(actual, expected):
    scale = max(expected.abs().max().item(), 1e-2)
    return (actual - expected).abs().max().item() <= 2e-4 * scale


@pytest.mark.parametrize("batch", [1, 2, 5, 64, 333, 1024])
def test_values_gradients_buffers_and_random_numbers_equal_eager(kernel, batch):
    module, eager = kernel.module(seed=1), kernel.blueprint.build(seed=1).train()
    x = example(kernel, batch)
    y, dx, grads, state = run(module, x)
    y_eager, dx_eager, grads_eager, state_eager = run(eager, x)
    assert module.calls == {"compiled": 1}
    assert torch.equal(state, state_eager)
    assert close(y, y_eager)
    assert close(dx, dx_eager)
    scale = max(g.abs().max().item() for g in grads_eager.values())
    for name, expected in grads_eager.items():
        assert (grads[name] - expected).abs().max().item() <= 2e-4 * scale, name
    for (name, actual), (_, expected) in zip(module.named_buffers(), eager.named_buffers(), strict=True):
        assert torch.allclose(actual, expected, rtol=1e-5, atol=1e-6), name


@pytest.mark.parametrize("threads", [1, 3, 16])
def test_any_number_of_threads_gives_the_right_answer(kernel, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x = example(kernel, 64)
        y, dx, _, _ = run(kernel.module(), x)
        y_eager, dx_eager, _, _ = run(kernel.blueprint.build(0).train(), x)
    finally:
        torch.set_num_threads(before)
    assert close(y, y_eager)
    assert close(dx, dx_eager)


def test_state_names_are_those_of_the_plain_module():
    for blueprint in library():
        plain = blueprint.build(0)
        module = KernelModule(blueprint)
        assert list(module.state_dict()) == list(plain.state_dict())
        assert [n for n, _ in module.named_parameters()] == [n for n, _ in plain.named_parameters()]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda x: x.double(), Reason.OTHER_DTYPE),
        (lambda x: x.t().contiguous().t(), Reason.STRIDES),
        (lambda x: x[:1].expand(5, 64), Reason.STRIDES),
        (lambda x: x.as_subclass(Marked), Reason.TENSOR_SUBCLASS),
    ],
)
def test_a_tensor_that_only_looks_right_runs_eager(mlp, change, reason):
    module = mlp.module().double() if reason is Reason.OTHER_DTYPE else mlp.module()
    module(change(example(mlp)))
    assert module.calls == {reason: 1}


def _other_strides(module):
    weight = next(module.parameters())
    weight.data = weight.data.t().contiguous().t()


def _other_layer(module):
    module.up = torch.nn.Linear(64, 256, bias=False)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda module: module.double(), Reason.OTHER_DTYPE),
        (_other_strides, Reason.STRIDES),
        (_other_layer, Reason.STATE_CHANGED),
        (lambda module: module.up.register_forward_hook(lambda *_: None), Reason.STATE_CHANGED),
        (lambda module: module.requires_grad_(requires_grad=False), Reason.FROZEN),
        (lambda module: module.eval(), Reason.EVAL_MODE),
    ],
)
def test_a_module_that_changes_after_a_call_that_fitted_is_judged_anew(mlp, change, reason):
    module, x = mlp.module(), example(mlp)
    module(x)
    change(module)
    module(x.to(next(module.parameters()).dtype))
    assert module.calls == {"compiled": 1, reason: 1}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda x: x.t().contiguous().t(), Reason.STRIDES),
        (lambda x: x[:1].expand(5, 64), Reason.STRIDES),
        (torch._neg_view, Reason.STRIDES),
        (lambda x: x.as_subclass(Marked), Reason.TENSOR_SUBCLASS),
        (torch.Tensor.to_sparse_csr, Reason.STRIDES),
    ],
)
def test_an_input_that_only_looks_like_the_last_runs_eager(mlp, change, reason):
    module, x = mlp.module(), example(mlp)
    module(x)
    module(change(x))
    module(x)
    assert module.calls == {"compiled": 2, reason: 1}


@pytest.mark.parametrize("inputs", [(), (1,), (torch.zeros(5, 64), torch.zeros(5, 64)), (torch.zeros(5, 63),)])
def test_wrong_inputs_are_refused_by_name_after_a_call_that_fitted_too(mlp, inputs):
    module = mlp.module()
    module(example(mlp))
    with pytest.raises(InterfaceMismatchError):
        module(*inputs)


def test_modes_are_judged_after_a_call_that_fitted_too(mlp):
    module, x = mlp.module(), example(mlp)
    module(x)
    with torch.no_grad():
        module(x)
    with torch.autocast("cpu", torch.bfloat16):
        module(x)
    torch.func.vmap(module, randomness="same")(x[None])
    with FlopCounterMode(display=False) as flops:
        module(x)
    assert flops.get_total_flops() > 0
    assert module.calls == {
        "compiled": 1,
        Reason.GRAD_DISABLED: 1,
        Reason.AUTOCAST: 1,
        Reason.FUNCTORCH: 1,
        Reason.DISPATCH_MODE: 1,
    }


def test_a_forward_derivative_is_eagers(mlp):
    module, x = mlp.module(), example(mlp)
    module.dropout.p = 0.0

    def tangent_of(function):
        with forward_ad.dual_level():
            return forward_ad.unpack_dual(function(forward_ad.make_dual(x, torch.ones_like(x)))).tangent

    assert torch.equal(tangent_of(module), tangent_of(module._eager))
    assert module.calls == {Reason.FORWARD_AD: 1}


def test_a_nested_input_is_refused_after_a_call_that_fitted_too(mlp):
    # Torch's guard would end the process.
    module, x = mlp.module(), example(mlp)
    module(x)
    with pytest.raises(InterfaceMismatchError, match="'x' is a nested tensor"):
        module(torch.nested.nested_tensor([x, x[:2]]))


def test_other_batches_and_replaced_tensors_of_the_same_kind_stay_compiled(mlp):
    module = mlp.module()
    for batch in (5, 9, 5):
        module(example(mlp, batch))
    module.down.weight = torch.nn.Parameter(torch.zeros_like(module.down.weight))
    module.down.bias.data = torch.ones_like(module.down.bias)
    assert torch.equal(module(example(mlp)), torch.ones(5, 64))
    assert module.calls == {"compiled": 4}


@pytest.mark.parametrize("shape", [(5, 63), (5,), (2, 5, 64), (1025, 64), (0, 64)])
def test_a_shape_outside_the_interface_is_refused_by_name(mlp, shape):
    with pytest.raises(InterfaceMismatchError, match="'x'"):
        mlp.module()(torch.zeros(shape))


def test_modes_without_a_variant_run_eager_and_are_counted(mlp):
    module = mlp.module()
    x = example(mlp)
    with torch.no_grad():
        module(x)
    with torch.autocast("cpu", torch.bfloat16):
        module(x)
    module.eval()
    assert torch.equal(module(x), module(x)), "evaluation must not drop anything out"
    module.train()
    torch.func.vmap(module, randomness="same")(x[None])
    assert module.calls == {
        Reason.GRAD_DISABLED: 1,
        Reason.AUTOCAST: 1,
        Reason.EVAL_MODE: 2,
        Reason.FUNCTORCH: 1,
    }


def test_a_second_derivative_is_refused_and_never_silently_wrong(mlp):
    module = mlp.module()
    x = example(mlp).requires_grad_()
    with pytest.raises(DoubleBackwardError, match="use_eager"):
        torch.autograd.grad(module(x).sum(), x, create_graph=True)


def test_many_gradients_at_once_are_refused_by_name(mlp):
    x = example(mlp, 1).requires_grad_()
    y = mlp.module()(x)
    with pytest.raises(BatchedBackwardError, match="use_eager"):
        torch.autograd.grad(y, x, torch.eye(64).reshape(64, 1, 64), is_grads_batched=True)


def test_a_gradient_that_is_a_negated_view_is_read_as_what_it_says(kernel):
    x = example(kernel)
    _, _, expected, _ = run(kernel.module(), x)
    module = kernel.module()
    torch.manual_seed(3)
    y = module(x)
    y.backward(torch._neg_view(torch.ones_like(y).mul_(-0.5)))
    for name, parameter in module.named_parameters():
        assert torch.equal(parameter.grad, expected[name]), name


@pytest.mark.parametrize("what", ["parameter", "input", "output"])
def test_a_change_in_place_before_the_backward_is_noticed(kernel, what):
    module = kernel.module()
    x = example(kernel).requires_grad_()
    inner = x * 1.0
    y = module(inner)
    watched = {kernel.manifest.convention.positions - 1} & {
        *kernel.manifest.convention.watched,
        *(rule.index for rule in kernel.manifest.convention.saved if rule.source == "input"),
    }
    saved_outputs = [rule for rule in kernel.manifest.convention.saved if rule.source == "output"]
    with torch.no_grad():
        if what == "parameter":
            for parameter in module.parameters():
                parameter.mul_(2)
        elif what == "input":
            inner.mul_(2)
        else:
            y.mul_(2)
    if (what == "input" and not watched) or (what == "output" and not saved_outputs):
        y.sum().backward()  # not needed for the gradient, so no error is due, as in eager
        return
    with pytest.raises(RuntimeError, match="inplace"):
        y.sum().backward()


def test_gradients_share_no_memory(kernel):
    module = kernel.module()
    x = example(kernel).requires_grad_()
    y = module(x)
    tangent = torch.ones_like(y)
    y.backward(tangent)
    tensors = [x.grad, tangent, y, x, *(p.grad for p in module.parameters()), *module.parameters()]
    pointers = [t.untyped_storage().data_ptr() for t in tensors]
    assert len(set(pointers)) == len(pointers)
    assert torch.equal(tangent, torch.ones_like(y))


def test_a_copy_runs_the_same_body_on_its_own_state(mlp):
    module = mlp.module()
    twin = copy.deepcopy(module)
    x = example(mlp)
    assert twin.digest == module.digest
    with torch.no_grad():
        next(twin.parameters()).zero_()
    torch.manual_seed(0)
    first = module(x)
    torch.manual_seed(0)
    assert not torch.equal(first, twin(x))
    assert twin.calls["compiled"] == 1


def test_pickle_carries_state_and_digest_and_no_library(mlp):
    module = mlp.module()
    data = pickle.dumps(module)
    assert len(data) < 2 * sum(p.numel() * 4 for p in module.parameters())
    twin = pickle.loads(data)  # noqa: S301 - our own bytes
    assert twin.digest == module.digest
    for name, tensor in module.state_dict().items():
        assert torch.equal(twin.state_dict()[name], tensor)
    with pytest.raises(TypeError, match="pickle the kernel module"):
        pickle.dumps(module._bound.body)


def test_a_frozen_module_still_passes_the_gradient_on(mlp):
    module = mlp.module().requires_grad_(requires_grad=False)
    x = example(mlp).requires_grad_()
    module(x).sum().backward()
    assert x.grad is not None
    assert all(p.grad is None for p in module.parameters())
    assert module.calls == {"compiled": 1}
