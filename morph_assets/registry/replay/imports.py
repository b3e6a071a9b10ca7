"""Repeats bulk imports: the event names a manifest, the manifest tells of the rows."""

from typing import Any

from morph_assets.registry.evaluations import Measurement
from morph_assets.registry.import_batch import ImportedKernel, ImportedRelease, ImportedReport
from morph_assets.registry.import_manifest import parse_batch
from morph_assets.registry.replay.state import ReplayedState, ToldEvent, applies
from morph_kernels.canonical import sha256_hex


@applies("kernels.imported")
def imported(state: ReplayedState, event: ToldEvent) -> None:
    """A batch of releases and kernels."""
    facts = event.facts
    batch = parse_batch(state.body(facts["manifest_digest"]))
    state.put(
        "kernel_import",
        (facts["import_id"],),
        **{name: facts[name] for name in ("manifest_digest", "manifest_key", "blueprints", "kernels", "reports")},
    )
    for release in batch.releases:
        _release(state, event, release)
    for kernel in batch.kernels:
        _kernel(state, event, kernel)


def bodies_of(manifest: bytes) -> dict[str, bytes]:
    """Return the documents, reports and envelopes that a manifest holds, by their digests."""
    batch = parse_batch(manifest)
    reports = [kernel.report for kernel in batch.kernels if kernel.report is not None]
    bodies = (
        *(release.document for release in batch.releases),
        *(kernel.provenance for kernel in batch.kernels),
        *(body for report in reports for body in (report.body, report.attestation)),
    )
    return {sha256_hex(body): body for body in bodies}


def _release(state: ReplayedState, event: ToldEvent, release: ImportedRelease) -> None:
    digest = release.blueprint_digest
    state.put("blueprint", (release.name,))
    state.put("blueprint_document", (digest,))
    state.inside[digest] = event.facts["manifest_digest"]
    version = 1 + sum(name == release.name for name, _ in state.tables["blueprint_release"])
    state.put(
        "blueprint_release",
        (release.name, version),
        blueprint_digest=digest,
        state="SUBMITTED",
        tags=list(release.tags),
        author=release.author,
        parents=list(release.parents),
        row_version=1,
        import_id=event.facts["import_id"],
    )
    for parent in sorted(set(release.parents) - {digest}):
        state.link(f"blueprint/{digest}", "derived_from", f"blueprint/{parent}", event.seq)


def _kernel(state: ReplayedState, event: ToldEvent, kernel: ImportedKernel) -> None:
    report = kernel.report
    state.put("blob", (kernel.bundle_digest,), size_bytes=kernel.bundle_bytes, state="live")
    state.put("blob_location", (kernel.bundle_digest, kernel.bundle_key, 0), size_bytes=kernel.bundle_bytes)
    copied = ("blueprint_digest", "build_key", "toolchain", "pipeline", "recipe_version", "size_bytes")
    state.put(
        "kernel",
        (kernel.digest,),
        **{column: getattr(kernel, column) for column in (*copied, "bundle_digest", "bundle_key")},
        target=dict(kernel.target),
        speculative=kernel.pipeline == "aggressive",
        state="COMPILED" if report is None else "VALIDATED",
        state_reason="",
        evaluation=0 if report is None else 1,
        tags=[] if report is None else sorted(set(report.tags)),
        row_version=1,
        import_id=event.facts["import_id"],
        **_summary(() if report is None else report.measurements),
    )
    _attest(state, event, kernel, kernel.provenance, None)
    state.link(f"kernel/{kernel.digest}", "compiled_from", f"blueprint/{kernel.blueprint_digest}", event.seq)
    if report is not None:
        _report(state, event, kernel, report)


def _report(state: ReplayedState, event: ToldEvent, kernel: ImportedKernel, report: ImportedReport) -> None:
    report_id = str(report.report_id)
    state.inside[sha256_hex(report.body)] = event.facts["manifest_digest"]
    state.put(
        "report",
        (report_id,),
        kernel_digest=kernel.digest,
        evaluation=1,
        suite=report.suite,
        verdict="pass",
        body_digest=sha256_hex(report.body),
        runtime_torch=report.torch,
        runtime_device=report.device,
        runtime_isa=report.isa,
        recorded_by=event.actor,
    )
    _attest(state, event, kernel, report.attestation, report_id)
    for measured in report.measurements:
        place = (measured.hardware, measured.shape_class)
        key = (report_id, measured.metric, measured.shape_class, measured.hardware)
        state.put("measurement", key, value=measured.value, unit=measured.unit)
        if measured.metric == ("step_us" if measured.shape_class else "latency_us") and measured.value > 0:
            state.put("kernel_latency", (kernel.digest, *place), latency_us=measured.value)
    state.link(f"report/{report_id}", "evaluates", f"kernel/{kernel.digest}", event.seq)


def _attest(
    state: ReplayedState, event: ToldEvent, kernel: ImportedKernel, envelope: bytes, report_id: str | None
) -> None:
    kind, digest = "provenance" if report_id is None else "verification", sha256_hex(envelope)
    state.inside[digest] = event.facts["manifest_digest"]
    state.put("attestation", (kernel.digest, digest), kind=kind, report_id=report_id, recorded_by=event.actor)


def _summary(measurements: tuple[Measurement, ...]) -> dict[str, Any]:
    def most(metric: str) -> float | None:
        return max((m.value for m in measurements if m.metric == metric and not m.shape_class), default=None)

    memory = most("memory_bytes")
    return {
        "speed_ratio": most("speed_ratio"),
        "latency_us": most("latency_us"),
        "memory_bytes": None if memory is None else round(memory),
        "risk": most("risk"),
    }
