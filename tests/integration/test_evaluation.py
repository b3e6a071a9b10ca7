"""Real kernels, right and wrong, through the evaluator's two sandboxes."""

import json
import subprocess
from dataclasses import replace

import pytest

from morph_assets.evaluation import EvaluationPolicy, Failed, Passed, WrongHostError, evaluate_kernel
from morph_kernels.artifact.bundle import KernelBundle
from morph_kernels.artifact.manifest import parse_manifest
from morph_kernels.artifact.target import current_runtime
from morph_kernels.canonical import canonical_bytes
from morph_kernels.compile.errors import SandboxError
from morph_kernels.compile.sandbox import Limits
from morph_kernels.reasons import Reason
from tests.support.flawed_kernel import DELICATE, with_libraries

pytestmark = pytest.mark.slow
NAMES = ("ffn_gelu", "squeeze_excite", "conv_residual_batchnorm")
SHORT = Limits(wall_s=12.0, cpu_s=12)


@pytest.fixture(scope="module", params=NAMES)
def evaluated(request, compiled):
    kernel = compiled(request.param)
    return kernel, evaluate_kernel(kernel.bundle, kernel.blueprint)


@pytest.fixture(scope="module")
def mlp(compiled):
    return compiled("ffn_gelu")


def reasons(evaluation):
    assert isinstance(evaluation.verdict, Failed)
    assert evaluation.risk == 1.0
    assert evaluation.report["verdict"] == "failed"
    assert json.loads(canonical_bytes(evaluation.report))["reasons"] == evaluation.report["reasons"]
    return {failure.reason for failure in evaluation.verdict.reasons}


def test_a_right_kernel_passes_with_a_report_that_has_a_digest(evaluated):
    kernel, evaluation = evaluated
    assert evaluation.verdict == Passed(), evaluation.verdict
    assert 0.0 < evaluation.risk < 1.0
    assert evaluation.runtime == current_runtime()
    report = json.loads(canonical_bytes(evaluation.report))
    assert report["verdict"] == "passed"
    assert report["kernel_digest"] == kernel.manifest.digest
    assert report["policy"]["digest"] == EvaluationPolicy().attested.digest


def test_every_gradient_is_compared_at_every_size_and_thread_count(evaluated):
    kernel, evaluation = evaluated
    rows = evaluation.report["cases"]
    threads = {row["threads"] for row in rows}
    sizes = {json.dumps(row["sizes"]) for row in rows}
    assert {1, 16} < threads
    assert len(sizes) >= 3
    assert any(set(row["sizes"].values()) == {1} for row in rows)
    assert any(row["sizes"]["batch"] >= 512 for row in rows)
    expected = {f"parameter_gradient.{name}" for name in kernel.manifest.convention.parameters}
    expected |= {f"buffer.{name}" for name in kernel.manifest.convention.buffers} | {"input_gradient.x", "output.y"}
    for row in rows:
        assert set(row["tensors"]) == expected
        assert row["broken"] == []


def test_what_a_kernel_costs_and_is_good_for_is_summed_up(evaluated):
    kernel, evaluation = evaluated
    sums = {m.metric: m.value for m in evaluation.measurements if not m.shape_class}
    assert sums.keys() >= {"speed_ratio", "latency_us", "memory_bytes", "covered_share", "worst_gradient_error"}
    assert sums["covered_share"] == 1.0
    assert 0.1 < sums["speed_ratio"] < 100
    keys = [(m.metric, m.shape_class, m.device) for m in evaluation.measurements]
    assert len(set(keys)) == len(keys)
    assert {"device:cpu", "dtype:float32", "isa:x86-64-v3", "size:small", *kernel.blueprint.tags} <= set(
        evaluation.tags
    )
    assert sum(tag.startswith("speed:") for tag in evaluation.tags) == 1


def test_a_careless_build_fails_for_each_of_its_faults(careless_bundle):
    evaluation = evaluate_kernel(careless_bundle, DELICATE)
    assert reasons(evaluation) >= {
        Reason.OVERWRITES,  # buffers shared with the caller
        Reason.WRONG_RANDOMNESS,  # its own generator
        Reason.WRONG_VALUES,  # other masks
        Reason.CRASHED,  # arrays sized by the builder's threads
    }
    crash = next(f for f in evaluation.verdict.reasons if f.reason is Reason.CRASHED)
    assert "3 threads" in crash.detail
    assert any(row["threads"] == 1 and row["tensors"] for row in evaluation.report["cases"]), "rows until the crash"


def test_saved_tensors_in_the_wrong_order_are_wrong_gradients_or_a_crash(mlp):
    manifest = mlp.manifest
    saved = manifest.convention.saved
    swapped = replace(manifest, convention=replace(manifest.convention, saved=(*saved[1:], saved[0])))
    bundle = KernelBundle(swapped.to_bytes(), mlp.bundle.libraries)
    assert reasons(evaluate_kernel(bundle, mlp.blueprint)) & {Reason.WRONG_GRADIENTS, Reason.CRASHED}


def test_another_kernels_libraries_under_right_digests_fail(mlp, compiled):
    other = compiled("squeeze_excite").bundle.libraries
    bundle = with_libraries(mlp.bundle, forward=other["forward"], backward=other["backward"])
    assert reasons(evaluate_kernel(bundle, mlp.blueprint)) <= {
        Reason.CRASHED,
        Reason.WRONG_VALUES,
        Reason.WRONG_GRADIENTS,
        Reason.WRONG_INTERFACE,
    }


def test_a_size_that_is_not_covered_runs_eager_and_is_right(mlp):
    manifest = mlp.manifest
    narrow = replace(manifest, convention=replace(manifest.convention, ranges={"batch": (2, 64)}))
    evaluation = evaluate_kernel(KernelBundle(narrow.to_bytes(), mlp.bundle.libraries), mlp.blueprint)
    assert evaluation.verdict == Passed(), evaluation.verdict
    (outside,) = {json.dumps(r["sizes"]) for r in evaluation.report["cases"] if r["sample"] == "outside:batch"}
    assert json.loads(outside) == {"batch": 65}
    assert evaluation.report["covered_share"] == pytest.approx(63 / 1024, rel=1e-3)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("*(volatile int *)0 = 1;", Reason.CRASHED),
        ("__builtin_trap();", Reason.CRASHED),
        ("raise(SIGKILL);", Reason.CRASHED),
        ("for (;;) pause();", Reason.TIMED_OUT),
        ("_exit(0);", Reason.NO_RESULT),
        ('FILE *f = fopen("/morph/out/result.json", "w"); fputs("{}", f); fclose(f); _exit(0);', Reason.NO_RESULT),
        ('symlink("/etc/passwd", "/morph/out/result.json"); _exit(0);', Reason.NO_RESULT),
        ("", Reason.LOAD_FAILED),
    ],
    ids=["segfault", "illegal", "killed", "hangs", "leaves", "forges", "links", "empty"],
)
def test_a_hostile_library_is_a_verdict_and_never_an_error(mlp, tmp_path, body, reason):
    source, library = tmp_path / "hostile.cpp", tmp_path / "hostile.so"
    headers = "".join(f"#include <{name}.h>\n" for name in ("signal", "stdio", "unistd"))
    source.write_text(f"{headers}__attribute__((constructor)) static void strike(void) {{ {body} }}\n")
    subprocess.run(["g++", "-w", "-shared", "-fPIC", "-o", library, source], check=True)  # noqa: S607 - found on PATH, as builds find it
    bundle = with_libraries(mlp.bundle, forward=library.read_bytes(), backward=mlp.bundle.libraries["backward"])
    assert reason in reasons(evaluate_kernel(bundle, mlp.blueprint, limits=SHORT))


def test_a_truncated_library_is_refused_before_it_is_loaded(mlp):
    libraries = {**mlp.bundle.libraries, "forward": mlp.bundle.libraries["forward"][:-4096]}
    evaluation = evaluate_kernel(KernelBundle(mlp.bundle.manifest, libraries), mlp.blueprint)
    assert reasons(evaluation) == {Reason.DIGEST_MISMATCH}


def test_a_truncated_library_under_its_own_digest_fails(mlp):
    whole = mlp.bundle.libraries
    bundle = with_libraries(
        mlp.bundle, forward=whole["forward"][: len(whole["forward"]) // 2], backward=whole["backward"]
    )
    assert reasons(evaluate_kernel(bundle, mlp.blueprint)) <= {Reason.LOAD_FAILED, Reason.CRASHED}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: {"gradients": m.convention.gradients[:-1]}, Reason.CRASHED),
        (lambda m: {"parameters": m.convention.parameters[::-1]}, Reason.CRASHED),
        (lambda _: {"ranges": {"batch": (1, 5000)}}, Reason.WRONG_INTERFACE),
        (lambda _: {"ranges": {}}, Reason.WRONG_INTERFACE),
        (lambda m: {"inputs": (replace(m.convention.inputs[0], dtype="int64"),)}, Reason.WRONG_INTERFACE),
    ],
    ids=["too few gradients", "parameters in another order", "too wide", "no ranges", "other inputs"],
)
def test_a_manifest_that_lies_about_the_calls_fails(mlp, change, reason):
    manifest = mlp.manifest
    lying = replace(manifest, convention=replace(manifest.convention, **change(manifest)))
    assert reason in reasons(evaluate_kernel(KernelBundle(lying.to_bytes(), mlp.bundle.libraries), mlp.blueprint))


def test_a_manifest_that_cannot_be_read_is_a_verdict(mlp):
    evaluation = evaluate_kernel(KernelBundle(b"{}", mlp.bundle.libraries), mlp.blueprint)
    assert reasons(evaluation) == {Reason.MALFORMED}


def test_a_kernel_of_another_blueprint_is_refused(mlp, compiled):
    other = compiled("squeeze_excite")
    assert reasons(evaluate_kernel(mlp.bundle, other.blueprint)) == {Reason.WRONG_INTERFACE}


def test_a_host_that_cannot_run_the_target_gives_no_verdict(mlp):
    from morph_kernels.artifact.manifest import KernelManifest
    from morph_kernels.artifact.target import build_key

    manifest = mlp.manifest
    target = replace(manifest.target, libstdcxx="99.0")
    named = {"toolchain": manifest.toolchain, "pipeline": manifest.pipeline, "recipe_version": manifest.recipe_version}
    key = build_key(manifest.blueprint_digest, target, **named)
    foreign: KernelManifest = replace(manifest, target=target, build_key=key)
    assert parse_manifest(foreign.to_bytes()).target == target
    with pytest.raises(WrongHostError, match="wrong_libc"):
        evaluate_kernel(KernelBundle(foreign.to_bytes(), mlp.bundle.libraries), mlp.blueprint)


def test_a_reference_that_breaks_is_a_retryable_error_and_no_verdict(mlp):
    starved = Limits(wall_s=60, cpu_s=60, memory_bytes=200 * 1024**2)
    with pytest.raises(SandboxError, match="reference") as caught:
        evaluate_kernel(mlp.bundle, mlp.blueprint, limits=starved)
    assert caught.value.retryable
