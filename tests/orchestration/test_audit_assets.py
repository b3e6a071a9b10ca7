"""The audit log in Dagster: anchoring as a job, the ledger as an asset with its check."""

import dagster as dg
import psycopg

from morph_kernels.blueprint import library
from tests.support.orchestration import checks_of


def run_job(orchestra, name):
    """Run a job on the orchestra's instance."""
    job = orchestra.defs.resolve_job_def(name)
    return job.execute_in_process(instance=orchestra.instance, raise_on_error=False)


def test_the_anchoring_job_says_what_had_waited(orchestra):
    orchestra.platform.submit_blueprint(library()[0])

    result = run_job(orchestra, "anchor_log")

    assert result.success
    (event,) = [found for found in result.all_events if found.event_type is dg.DagsterEventType.STEP_OUTPUT]
    metadata = {name: value.value for name, value in event.event_specific_data.metadata.items()}
    assert (metadata["anchor"], metadata["created"]) == (1, True)
    assert metadata["waited_events"] >= 2
    assert orchestra.platform.verify_audit().anchors == 1


def test_the_ledger_says_how_far_it_is_verified_and_what_happened(orchestra):
    orchestra.platform.submit_blueprint(library()[0])
    orchestra.platform.anchor_audit()
    orchestra.platform.submit_blueprint(library()[1])

    result = orchestra.materialize("audit_ledger")

    assert result.success
    assert checks_of(result) == {"audit_chain_is_intact": True}
    metadata = orchestra.metadata(result, "audit_ledger")
    assert (metadata["anchors"], metadata["unanchored_events"]) == (1, 1)
    assert metadata["verified_seq"] == metadata["archived_seq"] == metadata["anchored_seq"] + 1
    assert "| blueprint.submitted | 2 |" in metadata["by_type"]
    assert f"| {metadata['verified_seq']} | " in metadata["newest"]


def test_a_ledger_that_was_tampered_with_is_red_and_stops_nothing(orchestra, registry_database):
    orchestra.platform.submit_blueprint(library()[0])
    with psycopg.connect(registry_database) as superuser:
        superuser.execute("SET session_replication_role = replica")
        tenant = orchestra.platform.connections.tenant
        superuser.execute("UPDATE morph.event SET actor = 'eve' WHERE tenant = %s AND seq = 2", (tenant,))

    result = orchestra.materialize("audit_ledger")

    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert (check.passed, check.severity, check.blocking) == (False, dg.AssetCheckSeverity.ERROR, False)
    assert "event of the log 2: changed" in check.metadata["first"].value


def test_anchoring_and_verifying_wait_to_be_switched_on(orchestra):
    schedules = {schedule.name: schedule for schedule in orchestra.defs.schedules}

    assert schedules["anchor_log_schedule"].cron_schedule == "*/5 * * * *"
    assert schedules["verify_audit_ledger_schedule"].cron_schedule == "30 3 * * *"
    for name in ("anchor_log_schedule", "verify_audit_ledger_schedule"):
        assert schedules[name].default_status is dg.DefaultScheduleStatus.STOPPED
