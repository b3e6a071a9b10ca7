"""The audit log in Dagster: anchoring as a job, the ledger as an asset with its check."""

import dagster as dg

from morph_kernels.blueprint import library


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


def test_schedules_wait_to_be_switched_on(orchestra):
    schedules = {schedule.name: schedule for schedule in orchestra.defs.schedules}

    assert schedules["anchor_log_schedule"].cron_schedule == "*/5 * * * *"
    assert schedules["anchor_log_schedule"].default_status is dg.DefaultScheduleStatus.STOPPED
