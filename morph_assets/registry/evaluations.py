"""Evaluations: reports, measurements, and the verdict that only the evaluator's login may record."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID, uuid4

from psycopg.types.json import Jsonb

from morph_assets.registry.connection import Registry
from morph_kernels.identity import KernelDigest

VerdictWord = Literal["pass", "fail", "error"]


@dataclass(frozen=True)
class Measurement:
    """One measured number; of an empty shape class, `speed_ratio`, `latency_us` and `memory_bytes` sum up a kernel."""

    metric: str
    value: float
    unit: str
    shape_class: str = ""
    hardware: str = ""


@dataclass(frozen=True)
class EvaluationReport:
    """What an evaluation found: pass, fail (the kernel is wrong) or error (the evaluation itself broke).

    A passing one carries the signed verification summary. The id is the client's own: a retry records nothing twice.
    """

    kernel: KernelDigest
    suite: str
    verdict: VerdictWord
    body: bytes
    torch: str
    device: str
    isa: str
    measurements: Sequence[Measurement] = ()
    tags: Sequence[str] = ()
    attestation: bytes | None = None
    report_id: UUID = field(default_factory=uuid4)


@dataclass(frozen=True)
class ReportRecord:
    """A kept report; `body` has the digest `body_digest`."""

    report_id: UUID
    kernel_digest: KernelDigest
    suite: str
    verdict: VerdictWord
    body: bytes
    body_digest: str
    runtime_torch: str
    runtime_device: str
    runtime_isa: str
    recorded_by: str
    recorded_at: datetime


def start_evaluation(registry: Registry, kernel: KernelDigest) -> None:
    """Say that the kernel is being evaluated; again for one that is already changes nothing. As evaluator.

    Raises:
        IllegalTransitionError: it is neither COMPILED nor QUARANTINED.
    """
    registry.call("SELECT morph.start_evaluation(%s)", (kernel,))


def record_report(registry: Registry, report: EvaluationReport) -> str:
    """Keep the report and return the kernel's state after it: VALIDATED, REJECTED, or COMPILED after an error.

    A report on a kernel that is validated or published already leaves the state; a passing one adds its runtime.

    Raises:
        IllegalTransitionError: the kernel is in no state to be evaluated.
        GuardError: a passing report without its attestation, or without a provenance beside it.
    """
    (state,) = registry.call(
        "SELECT morph.record_report(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::text[], %s)",
        (
            report.report_id,
            report.kernel,
            report.suite,
            report.verdict,
            report.body,
            report.torch,
            report.device,
            report.isa,
            Jsonb([_document(measurement) for measurement in report.measurements]),
            list(report.tags),
            report.attestation,
        ),
    )
    return str(state)


def list_reports(registry: Registry, kernel: KernelDigest) -> list[ReportRecord]:
    """Return the kernel's reports, oldest first."""
    return registry.fetch(
        ReportRecord,
        """SELECT report_id, kernel_digest, suite, verdict, body, body_digest, runtime_torch, runtime_device,
                  runtime_isa, recorded_by, recorded_at
           FROM morph.report WHERE kernel_digest = %s ORDER BY recorded_at, report_id""",
        (kernel,),
    )


def list_failed_reports(registry: Registry, *, limit: int = 10_000) -> list[ReportRecord]:
    """Return the newest reports that found a kernel wrong."""
    return registry.fetch(
        ReportRecord,
        """SELECT report_id, kernel_digest, suite, verdict, body, body_digest, runtime_torch, runtime_device,
                  runtime_isa, recorded_by, recorded_at
           FROM morph.report WHERE verdict = 'fail' ORDER BY recorded_at DESC LIMIT %s""",
        (limit,),
    )


def list_measurements(registry: Registry, report_id: UUID) -> list[Measurement]:
    """Return the numbers of one report."""
    return registry.fetch(
        Measurement,
        """SELECT metric, value, unit, shape_class, hardware FROM morph.measurement
           WHERE report_id = %s ORDER BY metric, shape_class, hardware""",
        (report_id,),
    )


def list_newest_measurements(registry: Registry) -> dict[KernelDigest, dict[str, float]]:
    """Return the numbers that sum up each kernel, by metric, from its newest report that measured anything."""
    found: dict[KernelDigest, dict[str, float]] = {}
    with registry.transaction() as connection:
        rows = connection.execute(
            """SELECT r.kernel_digest::text, m.metric, m.value FROM morph.report r
               JOIN morph.measurement m ON m.tenant = r.tenant AND m.report_id = r.report_id AND m.shape_class = ''
               ORDER BY r.recorded_at"""
        ).fetchall()
    for digest, metric, value in rows:
        found.setdefault(KernelDigest(digest), {})[metric] = float(value)
    return found


def _document(measurement: Measurement) -> dict[str, str | float]:
    return {
        "metric": measurement.metric,
        "value": measurement.value,
        "unit": measurement.unit,
        "shape_class": measurement.shape_class,
        "hardware": measurement.hardware,
    }
