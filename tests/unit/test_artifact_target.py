import json
import subprocess
import sys

import pytest

from morph_kernels.artifact.document import MalformedError
from morph_kernels.artifact.host import cpu_level, cpu_name
from morph_kernels.artifact.target import Runtime, Target, build_key, current_runtime, incompatibility
from morph_kernels.identity import BlueprintDigest
from morph_kernels.reasons import Reason
from tests.support.artifacts import RUNTIME, TARGET, with_target

BLUEPRINT = BlueprintDigest("a" * 64)
V3_FLAGS = "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3 avx avx2 bmi1 bmi2 f16c fma abm movbe xsave"


def test_a_target_comes_back_from_its_document():
    assert Target.from_document(TARGET.to_document()) == TARGET
    assert hash(Target.from_document(TARGET.to_document())) == hash(TARGET)


def test_a_runtime_comes_back_from_its_document():
    assert Runtime.from_document(RUNTIME.to_document()) == RUNTIME


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("device", "tpu"),
        ("isa", "sm_90"),
        ("isa", "x86-64-v9"),
        ("dtype", "float31"),
        ("mode", "eval"),
        ("ranges", {"batch": [2, 1]}),
        ("ranges", {"batch": [True, 2]}),
        ("ranges", {"batch": [1]}),
        ("ranges", {"1": [1, 2]}),
        ("ranges", []),
        ("torch", "2.13.0+cpu"),
        ("glibc", "2..1"),
        ("libstdcxx", ""),
        ("libstdcxx", 3),
    ],
)
def test_a_target_with_a_wrong_field_is_malformed(key, value):
    with pytest.raises(MalformedError, match=key):
        Target.from_document(TARGET.to_document() | {key: value})


def test_a_target_with_a_missing_or_an_unknown_field_is_malformed():
    document = TARGET.to_document()
    with pytest.raises(MalformedError, match="extra"):
        Target.from_document(document | {"extra": 1})
    del document["mode"]
    with pytest.raises(MalformedError, match="mode"):
        Target.from_document(document)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (TARGET, None),
        (with_target(isa="x86-64-v4"), None),
        (with_target(glibc="2.36", libstdcxx="3.4.30"), None),
        (with_target(glibc="2.9"), None),
        (with_target(torch="2.99.0"), None),
        (with_target(device="cuda", isa="sm_90"), Reason.WRONG_DEVICE),
        (with_target(glibc="2.37"), Reason.WRONG_LIBC),
        (with_target(libstdcxx="3.4.31"), Reason.WRONG_LIBC),
    ],
)
def test_a_target_fits_a_host_that_has_at_least_what_it_asks_for(target, reason):
    assert incompatibility(target, RUNTIME) is reason


def test_avx512_code_does_not_fit_an_avx2_host():
    host = Runtime("cpu", "x86-64-v3", "2.13.0", "2.36", "3.4.30")
    assert incompatibility(with_target(isa="x86-64-v4"), host) is Reason.WRONG_ISA


def test_machine_code_for_one_gpu_does_not_fit_another():
    host = Runtime("cuda", "sm_100", "2.13.0", "2.36", "3.4.30")
    assert incompatibility(with_target(device="cuda", isa="sm_90"), host) is Reason.WRONG_ISA


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        ("fpu sse2", "x86-64"),
        (V3_FLAGS.replace("avx2", ""), "x86-64-v2"),
        (V3_FLAGS, "x86-64-v3"),
        (V3_FLAGS + " avx512f avx512bw avx512cd avx512dq", "x86-64-v3"),
        (V3_FLAGS + " avx512f avx512bw avx512cd avx512dq avx512vl", "x86-64-v4"),
    ],
)
def test_a_level_needs_every_one_of_its_flags(flags, level):
    assert cpu_level(f"processor : 0\nflags\t\t: {flags}\nbugs : avx512f\n") == level


def test_this_process_knows_what_it_can_run():
    runtime = current_runtime()
    assert Runtime.from_document(runtime.to_document()) == runtime
    assert runtime.isa.startswith("x86-64")
    assert runtime.libstdcxx.startswith("3.4.")


def test_a_build_key_changes_with_everything_that_changes_a_build():
    def key(target=TARGET, blueprint=BLUEPRINT, toolchain="g++ 12", pipeline="standard", recipe_version=1):
        return build_key(blueprint, target, toolchain=toolchain, pipeline=pipeline, recipe_version=recipe_version)

    keys = {
        key(),
        key(blueprint=BlueprintDigest("b" * 64)),
        key(toolchain="g++ 13"),
        key(pipeline="fast"),
        key(recipe_version=2),
        *(key(with_target(**{name: value})) for name, value in [("isa", "x86-64-v4"), ("torch", "2.15.0")]),
        key(with_target(ranges={"batch": (1, 4097)})),
    }
    assert len(keys) == 8
    assert key() == key(with_target(ranges=dict(TARGET.ranges)))


def test_judging_an_artifact_imports_neither_torch_nor_a_server_client():
    script = (
        "import sys, json, morph_kernels.artifact.target as t; t.current_runtime(); "
        "print(json.dumps([m for m in ('torch', 'obstore', 'redis', 'psycopg') if m in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, env={"PYTHONPATH": "kernels"}
    )
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("AMD EPYC 9B14", "amd-epyc-9b14"),
        ("AMD EPYC 7763 64-Core Processor", "amd-epyc-7763"),
        ("Intel(R) Xeon(R) CPU @ 2.20GHz", "intel-xeon"),
    ],
)
def test_a_processor_is_named_by_its_model(model, name):
    assert cpu_name(f"processor\t: 0\nmodel name\t: {model}\nflags\t: fpu\n") == name


def test_a_processor_without_a_name_is_unknown():
    assert cpu_name("") == "unknown"
