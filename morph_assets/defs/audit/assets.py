"""The audit log as an asset, verified as a whole once a day."""

import dagster as dg

from morph_assets.defs.failures import explained_failures
from morph_assets.defs.materialized import Materialized
from morph_assets.defs.tables import table
from morph_assets.platform import Platform
from morph_assets.usecases.verify_audit import VerifiedAudit

_INTACT = "audit_chain_is_intact"
_MAX_FINDINGS = 50


@dg.asset(
    check_specs=[
        dg.AssetCheckSpec(
            _INTACT,
            asset="audit_ledger",
            description="Both chains hold, and so do their copies, their anchors and the bodies that events name.",
        )
    ],
    group_name="audit",
    kinds={"postgres", "s3"},
    owners=["team:operations"],
    code_version="1",
)
def audit_ledger(platform: dg.ResourceParam[Platform]) -> Materialized:
    """Everything that happened, in order, as far as it can be proven that nobody changed the record of it."""
    with explained_failures():
        summary = platform.summarise_audit()
    verified = summary.verified
    rows = [
        (event.seq, event.recorded_at.isoformat(timespec="seconds"), event.type, event.subject, event.actor)
        for event in summary.newest
    ]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(verified.head.hash.hex()),
        check_results=[_judge(verified)],
        metadata={
            "dagster/row_count": verified.events,
            "verified_seq": verified.head.seq,
            "head": f"{verified.head.seq}:{verified.head.hash.hex()}",
            "anchors": verified.anchors,
            "anchored_seq": verified.anchored_seq,
            "unanchored_events": verified.unanchored.events,
            "unanchored_s": verified.unanchored.oldest_s,
            "archived_seq": verified.archived_seq,
            "security_events": verified.security_events,
            "bodies": verified.bodies,
            "newest": table(("seq", "recorded at", "type", "subject", "actor"), rows),
            "by_type": table(("type", "events"), summary.by_type.items()),
        },
    )


def _judge(verified: VerifiedAudit) -> dg.AssetCheckResult:
    found = [(f.place, f.position, f.kind, f.detail) for f in verified.findings[:_MAX_FINDINGS]]
    return dg.AssetCheckResult(
        check_name=_INTACT,
        passed=verified.holds,
        severity=dg.AssetCheckSeverity.ERROR,
        metadata={
            "first": str(verified.first or "-"),
            "findings": table(("where", "position", "what was done", "what shows it"), found),
        },
    )


verify_audit_ledger = dg.define_asset_job(
    "verify_audit_ledger",
    selection=dg.AssetSelection.assets("audit_ledger"),
    description="Verifies the whole audit log.",
)
verify_audit_ledger_schedule = dg.ScheduleDefinition(
    name="verify_audit_ledger_schedule",
    job=verify_audit_ledger,
    cron_schedule="30 3 * * *",
    description="Verifies the whole audit log once a day.",
)
