"""A kernel module that somebody altered computes what eager computes, or says in its count that it still fits."""

import copy
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_modules
from torch.nn.utils import parametrizations, prune

from morph_kernels.loader.module import KernelModule
from morph_kernels.reasons import Reason

pytestmark = pytest.mark.slow

COMPILED = {"compiled": 1}
CHANGED = {Reason.STATE_CHANGED: 1}


class DoublingLinear(nn.Linear):
    """Computes something else with the same parameters."""

    def forward(self, x):
        return 2 * super().forward(x)


def patch_forward(module):
    original = module.up.forward
    module.up.forward = lambda x: 2 * original(x)


def swap_class(module):
    module.up.__class__ = DoublingLinear


def narrow(module):
    module.up, module.down = nn.Linear(64, 128), nn.Linear(128, 64)


def give_two_places_one_norm(module):
    module.bn2 = module.bn1


def give_two_places_one_buffer(module):
    module.bn2.running_mean = module.bn1.running_mean


def widen_both_ways(module):
    module.conv1 = nn.Conv2d(16, 4, 3, padding=1, bias=False)
    module.bn1 = nn.BatchNorm2d(4)
    module.conv2 = nn.Conv2d(4, 16, 3, padding=1, bias=False)


def setting(path, name, value):
    def change(module):
        setattr(module.get_submodule(path), name, value)

    change.__name__ = f"{path}.{name}={value}"
    return change


def wrap(module):
    module.up = nn.Sequential(module.up)


ALTERATIONS = [
    ("conv_residual_batchnorm", lambda module: module.bn1.eval() and None),
    ("conv_residual_batchnorm", setting("bn1", "momentum", 0.9)),
    ("conv_residual_batchnorm", setting("bn1", "track_running_stats", value=False)),
    ("conv_residual_batchnorm", setting("conv1", "padding_mode", "circular")),
    ("conv_residual_batchnorm", setting("conv1", "bias", nn.Parameter(torch.ones(16)))),
    ("conv_residual_batchnorm", give_two_places_one_norm),
    ("conv_residual_batchnorm", give_two_places_one_buffer),
    ("conv_residual_batchnorm", widen_both_ways),
    ("ffn_gelu", lambda module: module.dropout.eval() and None),
    ("ffn_gelu", setting("dropout", "p", 0.9)),
    ("ffn_gelu", setting("dropout", "p", torch.tensor([0.9]))),
    ("ffn_gelu", lambda module: delattr(module.dropout, "inplace") or setattr(module.dropout, "note", 1)),
    ("ffn_gelu", patch_forward),
    ("ffn_gelu", swap_class),
    ("ffn_gelu", narrow),
    ("ffn_gelu", wrap),
    ("ffn_gelu", lambda module: setattr(module, "dropout", nn.Identity())),
    ("ffn_gelu", lambda module: parametrizations.weight_norm(module.up) and None),
    ("ffn_gelu", lambda module: prune.l1_unstructured(module.up, "weight", 0.5) and None),
    ("ffn_gelu", lambda module: delattr(module.up, "weight")),
    ("ffn_gelu", lambda module: module.up.register_forward_hook(lambda _, __, y: 2 * y) and None),
]


def outcome_of(module, x):
    """Return output, gradients and buffers of one seeded step from the same buffers, or the class of the error."""
    for parameter in module.parameters():
        parameter.grad = None
    torch.manual_seed(3)
    try:
        y = module(x)
        y.square().mean().backward()
    except (AttributeError, TypeError) as error:
        return type(error)
    return [y.detach(), *(p.grad for p in module.parameters()), *(b.clone() for b in module.buffers())]


def check_it_computes_what_eager_does(module, x):
    """Compare with the eager body, which shares every submodule and starts from the same buffers."""
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    actual = outcome_of(module, x)
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            buffer.copy_(before[name])
    expected = outcome_of(module._eager, x)
    if isinstance(expected, type):
        assert actual is expected
        return
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-4, atol=1e-5)


def example(kernel):
    symbols = {name: min(7, limits.max) for name, limits in kernel.blueprint.interface.symbols.items()}
    (x,) = kernel.blueprint.interface.example_inputs(symbols | {"batch": 4})
    return x


@pytest.mark.parametrize(("name", "alter"), ALTERATIONS)
@pytest.mark.parametrize("before", ["the first call", "a later call"])
def test_an_altered_submodule_runs_as_eager_would(compiled, name, alter, before):
    kernel = compiled(name)
    module, x = kernel.module(), example(kernel)
    if before == "a later call":
        module(x)
        module.calls.clear()
    alter(module)
    check_it_computes_what_eager_does(module, x)
    assert module.calls == CHANGED


@pytest.mark.parametrize("travel", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])  # noqa: S301 - our own bytes
@pytest.mark.parametrize(
    ("name", "alter"),
    [
        ("ffn_gelu", narrow),
        ("ffn_gelu", wrap),
        ("ffn_gelu", setting("dropout", "p", 0.9)),
        ("conv_residual_batchnorm", widen_both_ways),
    ],
)
def test_a_copy_of_an_altered_module_is_not_taken_for_the_blueprints(compiled, name, alter, travel):
    kernel = compiled(name)
    module = kernel.module()
    alter(module)
    twin = travel(module)
    assert twin.digest == kernel.manifest.digest
    check_it_computes_what_eager_does(twin, example(kernel))
    assert twin.calls == CHANGED


def test_a_body_given_to_an_altered_module_waits_until_it_fits(compiled):
    kernel = compiled("ffn_gelu")
    module, x = KernelModule(kernel.blueprint), example(kernel)
    up = module.up
    wrap(module)
    assert module.use_body(kernel.body(), "disk") is None
    check_it_computes_what_eager_does(module, x)
    module.up = up
    check_it_computes_what_eager_does(module, x)
    assert module.calls == CHANGED | COMPILED


@pytest.mark.parametrize(
    "alter",
    [
        setting("dropout", "p", float("0.1")),
        setting("up", "note", torch.ones(3)),
        lambda module: module.up.register_parameter("extra", None),
        lambda module: setattr(module, "up", nn.Linear(64, 256)),
        lambda module: module.dropout.eval().train() and None,
    ],
)
def test_what_eager_would_not_notice_either_stays_compiled(compiled, alter):
    kernel = compiled("ffn_gelu")
    module, x = kernel.module(), example(kernel)
    module(x)
    module.calls.clear()
    alter(module)
    check_it_computes_what_eager_does(module, x)
    assert module.calls == COMPILED


def test_a_hook_for_all_modules_runs(compiled):
    kernel = compiled("ffn_gelu")
    module, x = kernel.module(), example(kernel)
    module(x)
    module.calls.clear()
    seen = []
    handle = torch_modules.register_module_forward_hook(lambda layer, *_: seen.append(type(layer)))
    try:
        module(x)
    finally:
        handle.remove()
    assert nn.Linear in seen
    module(x)
    assert module.calls == CHANGED | COMPILED


def test_threads_that_call_one_module_at_once_get_right_answers(compiled):
    kernel = compiled("squeeze_excite")
    x = example(kernel)
    expected = kernel.blueprint.build().train()(x)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            for _ in range(200):
                # A new one each time: the first calls look up where its tensors live.
                module = kernel.module()
                for actual in pool.map(lambda _, module=module: module(x), range(8)):
                    torch.testing.assert_close(actual, expected, rtol=2e-4, atol=1e-5)
                assert module.calls.keys() == COMPILED.keys()
    finally:
        sys.setswitchinterval(before)


def test_a_body_that_names_what_the_blueprint_does_not_have_is_refused(compiled):
    module = KernelModule(compiled("squeeze_excite").blueprint)
    assert module.use_body(compiled("ffn_gelu").body(), "disk") is Reason.LOAD_FAILED
    assert module.digest is None
