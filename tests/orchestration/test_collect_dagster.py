"""What Dagster keeps for ever is deleted, and neither asset pages nor automation see a difference."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.events import DagsterEventType
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from psycopg import sql

from morph_assets.config import DAGSTER_DATABASE_VARIABLE
from morph_assets.defs.operations.jobs import collect_dagster_history
from morph_assets.registry.dagster_log import measure
from morph_assets.usecases.collect_dagster import collect_dagster
from tests.support.backups import unseen_progress
from tests.support.command_line import run_morph

names = dg.DynamicPartitionsDefinition(name="names")


@dg.asset(partitions_def=names, check_specs=[dg.AssetCheckSpec("is_good", asset="grown")])
def grown(context: dg.AssetExecutionContext):
    """An asset with a check, which fails to be made for one partition."""
    if context.partition_key == "broken":
        raise ValueError("broken")
    print("made")  # noqa: T201  # for the run's own log
    yield dg.MaterializeResult(
        data_version=dg.DataVersion("1"), check_results=[dg.AssetCheckResult(check_name="is_good", passed=True)]
    )


@dg.asset
def whole():
    """An asset without partitions."""
    return dg.MaterializeResult(metadata={"number": 7})


@dg.op
def work():
    """Nothing that anybody looks at later."""


@dg.job
def chore():
    """A job without assets."""
    work()


ASSETS = dg.Definitions(assets=[grown, whole])


def through_sqlalchemy(url):
    return url.replace("postgresql", "postgresql+psycopg2", 1)


@pytest.fixture
def instance(fresh_database, tmp_path):
    (tmp_path / "dagster.yaml").write_text(
        json.dumps(
            {
                "storage": {
                    "postgres": {"postgres_url": fresh_database.replace("postgresql", "postgresql+psycopg2", 1)}
                },
                "telemetry": {"enabled": False},
            }
        )
    )
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        made.add_dynamic_partitions("names", ["a", "b", "broken"])
        yield made


def make(instance, asset, partition=None):
    job = ASSETS.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(
        instance=instance, asset_selection=[asset.key], partition_key=partition, raise_on_error=False
    )
    return result.run_id


def report(instance, count):
    for number in range(count):
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                "checkpoint", partition="run-1", metadata={"number": number}, tags={"n": str(number)}
            )
        )


def age(url, days):
    """Let everything that is there have happened so many days earlier."""
    with psycopg.connect(url) as connection:
        for table, column in (
            ("event_logs", "timestamp"),
            ("runs", "update_timestamp"),
            ("asset_check_executions", "evaluation_event_timestamp"),
        ):
            earlier = sql.SQL("UPDATE {0} SET {1} = {1} - make_interval(days => %s)")
            connection.execute(earlier.format(sql.Identifier(table), sql.Identifier(column)), (days,))
        connection.execute("UPDATE runs SET end_time = end_time - %s * 86400", (days,))


def seen(instance):
    """What asset pages and automation go by."""
    kinds = (
        DagsterEventType.ASSET_MATERIALIZATION,
        DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        DagsterEventType.ASSET_FAILED_TO_MATERIALIZE,
    )
    keys = [grown.key, whole.key, dg.AssetKey("checkpoint")]
    latest = {
        (key.to_string(), kind.value): dict(instance.get_latest_storage_id_by_partition(key, kind))
        for key in keys
        for kind in kinds
    }
    newest = {key.to_string(): instance.get_latest_materialization_event(key) for key in keys}
    check = dg.AssetCheckKey(grown.key, "is_good")
    outcome = instance.event_log_storage.get_latest_asset_check_execution_by_key([check])[check]
    runs = {event.run_id for event in newest.values() if event and event.run_id} | {outcome.run_id}
    return latest, newest, outcome.id, {run: instance.get_run_by_id(run) is not None for run in runs}


@pytest.fixture
def history(instance, fresh_database):
    """Old runs of each kind; returned are those that nothing needs."""
    first = [make(instance, grown, "a"), make(instance, whole)]
    make(instance, grown, "b")
    make(instance, grown, "broken")
    first += [chore.execute_in_process(instance=instance).run_id for _ in range(3)]
    make(instance, grown, "a")
    make(instance, whole)
    report(instance, 4)
    age(fresh_database, 40)
    return first


def test_what_nothing_needs_is_deleted_and_nobody_sees_a_difference(instance, fresh_database, history):
    young = chore.execute_in_process(instance=instance).run_id
    before = seen(instance)
    logs = Path(instance.compute_log_manager.get_captured_local_path([history[0], "compute_logs", "x"], "out")).parents[
        1
    ]
    assert logs.is_dir()

    counted = collect_dagster(instance, fresh_database, unseen_progress, dry_run=True)
    assert (counted.deleted_runs, counted.deleted_reports) == (5, 3)
    assert counted.before == counted.after == measure(fresh_database)
    done = collect_dagster(instance, fresh_database, unseen_progress)

    assert (done.deleted_runs, done.deleted_reports, done.needed) == (5, 3 + 1, 4)
    assert not any(instance.has_run(run) for run in history)
    assert instance.has_run(young)
    assert not logs.exists()
    assert seen(instance) == before
    assert instance.get_materialized_partitions(grown.key) == {"a", "b"}
    sizes = {size.table: size.rows for size in done.after}
    counts = {size.table: size.rows for size in done.before}
    assert all(sizes[table] < counts[table] for table in ("runs", "event_logs", "asset_event_tags"))
    again = collect_dagster(instance, fresh_database, unseen_progress)
    assert (again.deleted_runs, again.deleted_reports) == (0, 0)


def test_what_still_runs_stays_however_old(instance, fresh_database):
    run = instance.create_run_for_job(chore, status=dg.DagsterRunStatus.STARTED)
    age(fresh_database, 400)
    collect_dagster(instance, fresh_database, unseen_progress)
    assert instance.has_run(run.run_id)


def test_old_ticks_go_and_the_newest_stays(instance, fresh_database):
    now = datetime.now(UTC)
    state = InstigatorState(
        RemoteInstigatorOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "all"), "watch"),
        InstigatorType.SENSOR,
        InstigatorStatus.RUNNING,
        SensorInstigatorData(),
    )
    instance.add_instigator_state(state)
    for days in (90, 60, 40):
        instance.create_tick(
            TickData(
                instigator_origin_id=state.instigator_origin_id,
                instigator_name="watch",
                instigator_type=InstigatorType.SENSOR,
                status=TickStatus.SUCCESS,
                timestamp=(now - timedelta(days=days)).timestamp(),
                selector_id=state.selector_id,
                run_ids=[],
            )
        )
    collect_dagster(instance, fresh_database, unseen_progress)
    (left,) = instance.get_ticks(state.instigator_origin_id, state.selector_id)
    assert left.timestamp == pytest.approx((now - timedelta(days=40)).timestamp())


def test_at_least_a_day_is_kept():
    with dg.DagsterInstance.ephemeral() as instance, pytest.raises(ValueError, match="one day"):
        collect_dagster(instance, "postgresql://nowhere", unseen_progress, keep_days=0)


def test_it_is_a_job_too(instance, fresh_database, monkeypatch):
    old = chore.execute_in_process(instance=instance).run_id
    age(fresh_database, 40)
    monkeypatch.setenv(DAGSTER_DATABASE_VARIABLE, through_sqlalchemy(fresh_database))
    result = collect_dagster_history.execute_in_process(instance=instance)
    assert result.success
    assert not instance.has_run(old)
    assert instance.has_run(result.run_id)


def test_the_command_says_rows_and_bytes(project_folder):
    assert run_morph("up", cwd=project_folder).returncode == 0
    ran = run_morph("gc", "dagster", "--keep-days", "7", "--json", cwd=project_folder)
    assert ran.returncode == 0, ran.stderr
    facts = json.loads(ran.stdout)
    assert (facts["deleted_runs"], facts["keep_days"]) == (0, 7)
    assert {table["table"] for table in facts["after"]} >= {"runs", "event_logs"}
