"""Repeats what happened to kernels: builds, evaluations, and the states they went through."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from morph_assets.registry.replay.removal import build_again
from morph_assets.registry.replay.state import ReplayedState, ToldEvent, applies
from morph_assets.registry.replay.usage import enter_build

_SUMMED_UP: Final[Mapping[str, Callable[[float], float]]] = {
    "speed_ratio": float,
    "latency_us": float,
    "memory_bytes": round,
    "risk": float,
}


@applies("kernel.compiled")
def compiled(state: ReplayedState, event: ToldEvent) -> None:
    """A kernel, its bundle, its provenance, and the compiler run that it came of."""
    facts = event.facts
    digest = facts["kernel_digest"]
    state.put("blob", (facts["bundle_digest"],), size_bytes=facts["bundle_bytes"], state="live")
    state.change("blob", facts["bundle_digest"], state="live")
    state.put("blob_location", (facts["bundle_digest"], facts["bundle_key"], 0), size_bytes=facts["bundle_bytes"])
    copied = ("blueprint_digest", "build_key", "target", "toolchain", "pipeline", "recipe_version", "size_bytes")
    state.put(
        "kernel",
        (digest,),
        **{column: facts[column] for column in (*copied, "bundle_digest", "bundle_key")},
        state="COMPILED",
        state_reason="",
        evaluation=0,
        speed_ratio=None,
        latency_us=None,
        memory_bytes=None,
        risk=None,
        tags=[],
        speculative=facts.get("speculative", facts["pipeline"] == "aggressive"),
        row_version=1,
        import_id=None,
    )
    if facts.get("was_purged", False):
        build_again(state, digest, {column: facts[column] for column in ("bundle_digest", "bundle_key")})
    state.put(
        "attestation",
        (digest, facts["provenance_digest"]),
        kind="provenance",
        report_id=None,
        recorded_by=event.actor,
    )
    _build(state, event, outcome="built")
    state.link(f"kernel/{digest}", "compiled_from", f"blueprint/{facts['blueprint_digest']}", event.seq)


@applies("build.was_redundant")
def was_redundant(state: ReplayedState, event: ToldEvent) -> None:
    """A compiler run whose kernel was there before it."""
    _build(state, event, outcome="redundant")


@applies("build.failed")
def failed(state: ReplayedState, event: ToldEvent) -> None:
    """A compiler run without a kernel."""
    _build(state, event, outcome="failed")


def _build(state: ReplayedState, event: ToldEvent, *, outcome: str) -> None:
    facts = event.facts
    state.put(
        "build",
        (facts["build_id"],),
        build_key=facts["build_key"],
        blueprint_digest=facts["blueprint_digest"],
        kernel_digest=facts.get("kernel_digest"),
        outcome=outcome,
        reason=facts.get("reason", ""),
        cpu_s=facts["cpu_ms"] / 1000,
        wall_s=facts["wall_ms"] / 1000,
        isolation=facts["isolation"],
        log_digest=facts["log_digest"],
        builder=event.actor,
    )
    enter_build(state, event)


@applies("kernel.evaluation_started", "kernel.published", "kernel.quarantined", "kernel.revoked")
def advanced(state: ReplayedState, event: ToldEvent) -> None:
    """Another state of a kernel."""
    facts = event.facts
    kernel = state.change("kernel", facts["kernel_digest"], state=facts["to"], state_reason=facts["reason"])
    if facts["to"] == "VALIDATING":
        kernel["evaluation"] += 1


@applies("kernel.validated", "kernel.rejected", "kernel.evaluation_broke", "kernel.reevaluated")
def reported(state: ReplayedState, event: ToldEvent) -> None:
    """A report: its numbers, and with a passing one its attestation and tags."""
    facts = event.facts
    digest, report = facts["kernel_digest"], facts["report_id"]
    kernel = state.row("kernel", digest)
    runtime = facts["runtime"]
    state.put(
        "report",
        (report,),
        kernel_digest=digest,
        evaluation=kernel["evaluation"],
        suite=facts["suite"],
        verdict=facts["verdict"],
        body_digest=facts["report_digest"],
        runtime_torch=runtime["torch"],
        runtime_device=runtime["device"],
        runtime_isa=runtime["isa"],
        recorded_by=event.actor,
    )
    for measured in facts["measurements"]:
        key = (report, measured["metric"], measured["shape_class"], measured["hardware"])
        state.put("measurement", key, value=float(measured["value"]), unit=measured["unit"])
        _keep_latency(state, digest, measured)
    if facts["verdict"] == "pass":
        envelope = facts["attestation_digest"]
        state.put("attestation", (digest, envelope), kind="verification", report_id=report, recorded_by=event.actor)
        kernel["tags"] = sorted(set(facts["tags"]))
    state.link(f"report/{report}", "evaluates", f"kernel/{digest}", event.seq)
    reason = kernel["state_reason"] if facts["from"] == facts["to"] else ""
    state.change("kernel", digest, state=facts["to"], state_reason=reason, **_summary(facts))


def _keep_latency(state: ReplayedState, digest: str, measured: Mapping[str, Any]) -> None:
    """The newest report's word on how long a kernel takes, hardware by hardware and shape by shape."""
    value = float(measured["value"])
    if measured["metric"] == ("step_us" if measured["shape_class"] else "latency_us") and value > 0:
        place = (digest, measured["hardware"], measured["shape_class"])
        state.put("kernel_latency", place, latency_us=value)["latency_us"] = value


def _summary(facts: Mapping[str, Any]) -> dict[str, float]:
    newest: dict[str, float] = {}
    for measured in facts["measurements"]:
        metric = measured["metric"]
        if metric in _SUMMED_UP and measured["shape_class"] == "":
            number = _SUMMED_UP[metric](float(measured["value"]))
            newest[metric] = max(newest.get(metric, number), number)
    return newest


@applies("artifact.damaged", "artifact.repaired", "artifact.moved")
def scrubbed(state: ReplayedState, event: ToldEvent) -> None:
    """What happened to stored bytes changes no row; the kernel must be there."""
    state.row("kernel", event.facts["kernel_digest"])
