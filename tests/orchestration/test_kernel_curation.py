"""The nightly round as an asset: a table of what went and why, and of why the rest stays."""

import dagster as dg

from morph_assets.defs.curation.assets import CurationConfig


def curate(orchestra, *, dry_run=False):
    job = orchestra.defs.resolve_job_def("nightly_curation")
    config = {"ops": {"kernel_curation": {"config": CurationConfig(dry_run=dry_run).model_dump()}}}
    ran = job.execute_in_process(instance=orchestra.instance, run_config=config)
    return orchestra.metadata(ran, "kernel_curation")


def test_a_night_shows_what_would_go_then_retires_it_then_removes_it(orchestra, made_platform):
    _, kernel = made_platform.judged()
    made_platform.platform.set_policy("idle", "unused", {"days": 0}, grace_s=0)

    plan = curate(orchestra, dry_run=True)
    assert (plan["retired_count"], plan["purged_count"], plan["dry_run"]) == (1, 0, True)
    assert plan["frees_bytes"] > 0
    assert f"| {kernel.digest[:16]} | ffn_gelu | retired | unused for 0 days | idle |" in plan["kernels"]
    assert curate(orchestra)["retired_count"] == 1
    gone = curate(orchestra)
    assert (gone["purged_count"], gone["freed_bytes"] > 0) == (1, True)


def test_it_runs_every_night_by_itself(orchestra):
    schedule = orchestra.defs.get_schedule_def("nightly_curation_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("30 3 * * *", "UTC")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_the_usage_ledger_shows_what_each_blueprint_cost(orchestra, made_platform):
    kernel, _ = made_platform.judged()

    ran = orchestra.materialize("usage_ledger")
    told = orchestra.metadata(ran, "usage_ledger")
    assert (told["build_cpu_s"], told["bytes_served"]) == (19.2, 0)
    assert f"| {kernel.blueprint.digest[:16]} | build_cpu_s | 19.2 | 1 |" in told["by_blueprint"]
