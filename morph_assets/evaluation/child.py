"""What runs inside the evaluation sandbox: runs samples and writes down what happened, judging nothing.

It runs twice, in two sandboxes. The reference never sees the kernel's libraries: it records eager float64 and float32.
The candidate loads the libraries and records the compiled body, so a library that writes results of its own must still
write tensors that agree with what it never saw. Times, memory and claims about repeats are the candidate's own word.
"""

import json
import resource
import sys
from typing import TYPE_CHECKING, Any

from morph_assets.evaluation import exchange
from morph_assets.evaluation.samples import Sample
from morph_kernels.compile.sandbox import INPUT, OUTPUT

if TYPE_CHECKING:
    from morph_kernels.blueprint import Blueprint
    from morph_kernels.loader.module import KernelModule

_MODULE_SEED = 1


def main() -> int:
    """Do what the request asks for; an error of the kernel is a result too."""
    request = json.loads((INPUT / exchange.REQUEST).read_bytes())
    try:
        document = _run_candidate(request) if request["role"] == exchange.CANDIDATE else _run_reference(request)
    except Exception as error:  # noqa: BLE001 - whatever a kernel raises belongs in its report
        refusal = {"error": type(error).__name__, "message": str(error)[:2000]}
        (OUTPUT / exchange.REFUSAL).write_text(json.dumps(refusal), encoding="utf-8")
        return 1
    usage = resource.getrusage(resource.RUSAGE_SELF)
    document["cpu_s"] = usage.ru_utime + usage.ru_stime
    # The result last: without it, whatever lies in the folder counts as nothing.
    (OUTPUT / exchange.RESULT).write_text(json.dumps(document), encoding="utf-8")
    return 0


def _run_reference(request: dict[str, Any]) -> dict[str, Any]:
    import torch

    from morph_assets.evaluation.exercise import record

    blueprint = _read_blueprint(request)
    torch.set_num_threads(1)
    for index, sample in enumerate(_samples(request, "samples")):
        for dtype in ("float32", "float64"):
            # Built anew: a step changes the buffers.
            module = blueprint.build(_MODULE_SEED).train().to(getattr(torch, dtype))
            recording = record(module, blueprint.interface, sample, getattr(torch, dtype))
            exchange.write_recording(OUTPUT / exchange.recording_name(index, dtype), recording)
    return {"torch": torch.__version__}


def _run_candidate(request: dict[str, Any]) -> dict[str, Any]:
    import torch

    _enter("loading")
    blueprint = _read_blueprint(request)
    module = _load(request, blueprint)
    samples = _samples(request, "samples")
    for threads in request["threads"]:
        torch.set_num_threads(threads)
        for index, sample in enumerate(samples):
            _enter(f"{sample.label} at {threads} threads")
            _record_sample(module, blueprint, sample, exchange.recording_name(index, str(threads)))
    torch.set_num_threads(request["timed_threads"][0])
    return {
        "memory": _measure_memory(request, blueprint, module),
        "timings": _measure_times(request, blueprint, module),
    }


def _record_sample(module: "KernelModule", blueprint: "Blueprint", sample: Sample, name: str) -> None:
    """Record a sample, whether a second run and a second backward give the same bits, and which body ran."""
    import torch

    from morph_assets.evaluation.exercise import digest_of, record, record_backward_twice

    initial = blueprint.build(_MODULE_SEED).state_dict()
    module.load_state_dict(initial)
    module.calls.clear()
    first = record(module, blueprint.interface, sample, torch.float32)
    calls = dict(module.calls)
    module.load_state_dict(initial)
    second = record(module, blueprint.interface, sample, torch.float32)
    passes = record_backward_twice(module, blueprint.interface, sample)
    claims = {
        **first.claims,
        "calls": calls,
        "repeats": digest_of(first) == digest_of(second),
        "saved_kept": passes[0] == passes[1],
    }
    exchange.write_recording(OUTPUT / name, exchange.Recording(first.tensors, first.digests, claims))


def _measure_memory(request: dict[str, Any], blueprint: "Blueprint", module: "KernelModule") -> dict[str, int]:
    from morph_assets.evaluation.resources import measure_growth, measure_held, plan_calls

    _enter("measuring memory")
    few, large = _samples(request, "few")[0], _samples(request, "timed")[-1]
    eager = blueprint.build(_MODULE_SEED).train()
    return {
        "growth_bytes": measure_growth(plan_calls(module, blueprint.interface, few)[1], request["growth_iterations"]),
        "held_bytes": measure_held(plan_calls(module, blueprint.interface, large)[0]),
        "eager_held_bytes": measure_held(plan_calls(eager, blueprint.interface, large)[0]),
    }


def _measure_times(request: dict[str, Any], blueprint: "Blueprint", module: "KernelModule") -> list[dict[str, Any]]:
    import torch

    from morph_assets.evaluation.resources import plan_calls, time_pairs

    eager = blueprint.build(_MODULE_SEED).train()
    rows = []
    for threads in request["timed_threads"]:
        torch.set_num_threads(threads)
        for sample in _samples(request, "timed"):
            _enter(f"timing {sample.label} at {threads} threads")
            own = plan_calls(module, blueprint.interface, sample)
            other = plan_calls(eager, blueprint.interface, sample)
            for place, direction in enumerate(("forward", "step")):
                row = time_pairs(own[place], other[place], pairs=request["pairs"], budget_s=request["budget_s"])
                rows.append(row | {"direction": direction, "sample": sample.label, "threads": threads})
    return rows


def _load(request: dict[str, Any], blueprint: "Blueprint") -> "KernelModule":
    from morph_kernels.artifact.manifest import parse_manifest
    from morph_kernels.loader.body import BodyLoadError, open_body
    from morph_kernels.loader.module import KernelModule

    manifest = parse_manifest((INPUT / exchange.MANIFEST).read_bytes())
    module = KernelModule(blueprint, seed=_MODULE_SEED).train()
    paths = {role: INPUT / name for role, name in request["libraries"].items()}
    body = open_body(manifest, forward=paths["forward"], backward=paths["backward"], cap=1)
    if module.use_body(body, "disk") is not None:
        raise BodyLoadError("it names parameters or buffers that a module of its blueprint does not have")
    return module


def _read_blueprint(request: dict[str, Any]) -> "Blueprint":
    from morph_kernels.blueprint import Blueprint

    return Blueprint.from_bytes((INPUT / exchange.BLUEPRINT).read_bytes(), name=request["name"])


def _samples(request: dict[str, Any], key: str) -> list[Sample]:
    return [Sample(**document) for document in request[key]]


def _enter(stage: str) -> None:
    """Leave word of what is about to run: a crash says nothing itself."""
    (OUTPUT / exchange.STAGE).write_text(stage, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
