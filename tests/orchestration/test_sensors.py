"""The sensors on a real platform and a real instance: what they report and what they request."""

import re
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from morph_assets.defs.partitions import active_runs
from morph_assets.platform import Platform
from morph_assets.registry.kernels import quarantine_kernel
from morph_assets.usecases.plan_scrub import ScrubPlace, format_place, parse_place
from morph_kernels.checkpoint import Checkpointer, PostgresLedger
from morph_kernels.store import open_store
from morph_sensors.artifact_integrity import artifact_integrity
from morph_sensors.cache_pressure import cache_pressure
from morph_sensors.checkpoint_commits import checkpoint_commits
from morph_sensors.index_relay import index_relay
from tests.support.checkpoints import small_state


def tick_on(orchestra, sensor: dg.SensorDefinition, cursor: str | None = None) -> dg.SensorResult:
    resources = {"platform": orchestra.platform}
    return sensor(dg.build_sensor_context(instance=orchestra.instance, cursor=cursor, resources=resources))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(bytes(data))


@pytest.fixture
def tick(orchestra):
    """Run a sensor and do what the daemon does with partitions and events of its result."""

    def once(sensor: dg.SensorDefinition, cursor: str | None = None) -> dg.SensorResult:
        result = tick_on(orchestra, sensor, cursor)
        for request in result.dynamic_partitions_requests or ():
            if isinstance(request, dg.AddDynamicPartitionsRequest):
                orchestra.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
            else:
                for key in request.partition_keys:
                    orchestra.instance.delete_dynamic_partition(request.partitions_def_name, key)
        for event in result.asset_events:
            orchestra.instance.report_runless_asset_event(event)
        return result

    return once


def run_job(orchestra, request: dg.RunRequest, name: str | None = None) -> dg.ExecuteInProcessResult:
    job = orchestra.defs.resolve_job_def(name or request.job_name)
    return job.execute_in_process(instance=orchestra.instance, run_config=request.run_config, raise_on_error=False)


@pytest.fixture
def commit(made_platform):
    """Save a checkpoint of a run as a trainer does."""
    endpoints = made_platform.config.endpoints

    def save(run: str, epoch: int) -> None:
        ledger, store = PostgresLedger(endpoints.database_url("trainer")), open_store(endpoints.store_url)
        checkpointer = Checkpointer(run=run, store=store, ledger=ledger)
        try:
            checkpointer.save(small_state(), epoch=epoch, step=epoch * 10).wait()
        finally:
            checkpointer.close()

    return save


def test_committed_checkpoints_are_reported_with_what_they_are(orchestra, tick, commit):
    commit("digits", 1)

    result = tick(checkpoint_commits)

    assert not result.run_requests
    assert result.skip_reason.skip_message == "1 checkpoints reported"
    assert orchestra.instance.get_dynamic_partitions(active_runs.name) == ["digits"]
    event = orchestra.instance.get_latest_materialization_event(dg.AssetKey("checkpoint")).asset_materialization
    facts = {name: value.value for name, value in event.metadata.items()}
    assert event.partition == "digits"
    assert (facts["epoch"], facts["step"], facts["kernel_count"]) == (1, 10, 0)
    assert event.tags["dagster/data_version"]


def test_a_reported_checkpoint_is_not_reported_again(tick, commit):
    commit("digits", 1)
    cursor = tick(checkpoint_commits).cursor
    commit("digits", 2)

    second = tick(checkpoint_commits, cursor)
    third = tick(checkpoint_commits, second.cursor)

    assert [event.metadata["epoch"].value for event in second.asset_events] == [2]
    assert third.skip_reason.skip_message == "nothing was committed"


def test_a_cache_within_its_budget_requests_nothing(tick):
    result = tick(cache_pressure)

    assert not result.run_requests
    assert "within budget" in result.skip_reason.skip_message


@pytest.fixture
def crowded(orchestra, made_platform):
    """The orchestra on a host whose disk holds a published kernel and may hold nothing."""
    kernel, _ = made_platform.published()
    made_platform.platform.connections.disk.put(kernel.manifest, kernel.bundle)
    tight = replace(made_platform.config, runtime=replace(made_platform.config.runtime, disk_budget_bytes=1))
    with Platform.connect(tight) as platform:
        yield orchestra.beside(platform)


def test_a_cache_over_its_budget_is_evicted_by_the_run_it_requests(crowded):
    first = tick_on(crowded, cache_pressure)
    (request,) = first.run_requests

    ran = run_job(crowded, request, "evict_cache")
    assert ran.success
    told = crowded.metadata(ran, "cache_eviction")
    assert (told["tier"], told["evicted_count"], told["kept_count"], told["budget_bytes"]) == ("disk", 1, 0, 1)
    assert told["freed_bytes"] > 0
    assert re.search(r"\| [0-9a-f]{16} \| disk \| evicted \| cheapest to lose: .* \|", told["kernels"])

    assert {tier.tier: tier.entries for tier in crowded.platform.cache_state().tiers}["disk"] == 0
    second = tick_on(crowded, cache_pressure, first.cursor)
    assert not second.run_requests
    assert second.skip_reason.skip_message == "every tier is within budget"


def test_a_cache_that_cannot_shrink_is_asked_once(crowded):
    first = tick_on(crowded, cache_pressure)
    second = tick_on(crowded, cache_pressure, first.cursor)

    assert first.run_requests
    assert not second.run_requests
    assert "holds only what is pinned" in second.skip_reason.skip_message


def test_without_a_kernel_there_is_nothing_to_scrub(tick):
    assert tick(artifact_integrity).skip_reason.skip_message == "there is no kernel yet"


def test_a_scrub_finds_a_flipped_bit_and_a_lost_kernel_is_asked_for_anew(orchestra, made_platform, tick):
    _, published = made_platform.published()
    orchestra.register("ffn_gelu")
    first = tick(artifact_integrity)
    (request,) = first.run_requests
    flip(made_platform.objects / made_platform.platform.find_kernel(published.digest).bundle_key)

    scrubbed = run_job(orchestra, request)
    second = tick(artifact_integrity, first.cursor)

    assert scrubbed.success
    (check,) = scrubbed.get_asset_check_evaluations()
    assert (check.check_name, check.passed, check.severity) == (
        "stored_copies_are_whole",
        False,
        dg.AssetCheckSeverity.ERROR,
    )
    assert check.metadata["damaged_count"].value == 1
    assert orchestra.platform.find_kernel(published.digest).state == "QUARANTINED"
    assert [(r.job_name, r.partition_key) for r in second.run_requests] == [
        ("scrub_artifacts", None),
        ("publish_blueprint", "ffn_gelu"),
    ]
    assert [r.job_name for r in tick(artifact_integrity, second.cursor).run_requests] == ["scrub_artifacts"]


def test_the_rounds_go_over_all_kernels(made_platform):
    digests = sorted(made_platform.compiled(name)[1].digest for name in ("ffn_gelu", "swiglu_rmsnorm"))
    place, asked = ScrubPlace(), []

    for _ in range(5):
        plan = made_platform.platform.plan_scrub(place, limit=1)
        place = parse_place(format_place(plan.place))
        asked.append(plan.after)

    assert asked == [None, digests[0], None, digests[0], None]


@pytest.mark.parametrize("text", [None, "", "no json", "[1]", '{"after": 3}'])
def test_a_cursor_that_is_no_place_is_the_beginning(text):
    assert parse_place(text) == ScrubPlace()


def test_an_index_that_is_complete_needs_no_relay(made_platform, tick):
    made_platform.published()

    assert tick(index_relay).skip_reason.skip_message == "every index is complete"


def test_an_index_that_is_behind_is_published_by_the_run_it_requests(orchestra, made_platform, tick):
    _, published = made_platform.published()
    connections = made_platform.platform.connections
    # As a process that died between the registry and the index.
    quarantine_kernel(connections.registry("platform"), published.digest, reason="test")
    (request,) = tick(index_relay).run_requests

    assert run_job(orchestra, request, "relay_indexes").success

    assert tick(index_relay).skip_reason.skip_message == "every index is complete"


def test_while_a_relay_is_at_work_no_other_is_requested(orchestra, made_platform, tick):
    _, published = made_platform.published()
    quarantine_kernel(made_platform.platform.connections.registry("platform"), published.digest, reason="test")
    orchestra.instance.create_run_for_job(orchestra.defs.resolve_job_def("relay_indexes"))

    assert tick(index_relay).skip_reason.skip_message == "a relay is at work for ffn_gelu"
