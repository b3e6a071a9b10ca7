"""The settings of a build: each one answers a fault, and what has no recipe is refused."""

from dataclasses import replace

import pytest

from morph_kernels.compile.builder import plan_build, plan_target
from morph_kernels.compile.errors import CompileError
from morph_kernels.compile.recipe import PIPELINES, functorch_settings, inductor_settings
from tests.support.trap_kernel import TRAPS

TARGET = plan_target(TRAPS)


@pytest.mark.parametrize("pipeline", PIPELINES)
@pytest.mark.parametrize(("isa", "bits"), [("x86-64-v3", 256), ("x86-64-v4", 512)])
def test_every_pipeline_keeps_to_the_targets_instructions(pipeline, isa, bits):
    settings = inductor_settings(replace(TARGET, isa=isa), pipeline)
    assert (settings["cpp.march"], settings["cpp.simdlen"]) == (isa, bits)
    assert settings["cpp.dynamic_threads"]
    assert settings["fallback_random"]
    assert not functorch_settings()["donated_buffer"]


@pytest.mark.parametrize(
    ("target", "pipeline"),
    [
        (replace(TARGET, isa="x86-64-v2"), "standard"),
        (replace(TARGET, device="cuda", isa="sm_90"), "standard"),
        (TARGET, "reckless"),
    ],
)
def test_what_has_no_recipe_is_refused(target, pipeline):
    with pytest.raises(CompileError, match=r"no recipe|no pipeline"):
        inductor_settings(target, pipeline)


def test_another_pipeline_target_or_toolchain_is_another_build():
    plan = plan_build(TRAPS)
    others = [
        plan_build(TRAPS, pipeline="fast"),
        plan_build(TRAPS, target=replace(TARGET, isa="x86-64-v4")),
        plan_build(TRAPS, target=replace(TARGET, ranges={"batch": (1, 2), "seq": (1, 64)})),
        replace(plan, toolchain="torch-9 g++-99"),
    ]
    assert len({plan.key, *(other.key for other in others)}) == 5
    assert plan_build(TRAPS).key == plan.key
