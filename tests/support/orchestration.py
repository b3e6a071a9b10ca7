"""The real definitions on a real platform: one Dagster instance of a test, runs in this process."""

from collections.abc import Iterator
from dataclasses import dataclass

import dagster as dg
import pytest

from morph_assets.definitions import build_defs
from morph_assets.defs.partitions import active_blueprints
from morph_assets.platform import Platform
from morph_assets.registry.kernels import KernelRecord
from tests.support.platform import TestPlatform


@dataclass
class Orchestra:
    """The definitions, the instance they run on, and the platform below them."""

    platform: Platform
    instance: dg.DagsterInstance
    defs: dg.Definitions
    _cursor: object = None

    def beside(self, platform: Platform) -> "Orchestra":
        """Return the same instance with another platform below it."""
        return Orchestra(platform, self.instance, build_defs(resource_overrides={"platform": platform}))

    def register(self, *names: str) -> None:
        """Make blueprints' names partition keys."""
        self.instance.add_dynamic_partitions(str(active_blueprints.name), list(names))

    def materialize(self, *assets: str, partition: str | None = None) -> dg.ExecuteInProcessResult:
        """Run the assets and their checks as one run; a failure is in the result."""
        keys = [dg.AssetKey(name) for name in assets]
        job = self.defs.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            instance=self.instance, asset_selection=keys, partition_key=partition, raise_on_error=False
        )

    def requested(self) -> dict[str, set[str | None]]:
        """Run one tick of the automation; return what it requests, by asset."""
        found = dg.evaluate_automation_conditions(self.defs, self.instance, cursor=self._cursor)
        self._cursor = found.cursor
        graph = self.defs.resolve_asset_graph()
        asked = {key.to_user_string(): found.get_requested_partitions(key) for key in graph.get_all_asset_keys()}
        return {name: partitions for name, partitions in asked.items() if partitions}

    def metadata(self, result: dg.ExecuteInProcessResult, asset: str) -> dict[str, object]:
        """Return the metadata of the run's materialisation of an asset, as plain values."""
        (event,) = result.asset_materializations_for_node(asset)
        return {name: value.value for name, value in event.metadata.items()}


@pytest.fixture
def orchestra(made_platform: TestPlatform) -> Iterator[Orchestra]:
    """The definitions on a platform that nobody else uses."""
    defs = build_defs(resource_overrides={"platform": made_platform.platform})
    with dg.DagsterInstance.ephemeral() as instance:
        yield Orchestra(made_platform.platform, instance, defs)


@pytest.fixture
def compiled_gelu(made_platform: TestPlatform, orchestra: Orchestra) -> KernelRecord:
    """A compiled ffn_gelu on the orchestra's platform, its name a partition key."""
    _, record = made_platform.compiled("ffn_gelu")
    orchestra.register("ffn_gelu")
    return record


def failed_reason(result: dg.ExecuteInProcessResult) -> str:
    """Return why the run's one failed step failed."""
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    return str(failure.step_failure_data.user_failure_data.description)


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    """Return the outcome of every check of a run."""
    return {check.check_name: check.passed for check in result.get_asset_check_evaluations()}
