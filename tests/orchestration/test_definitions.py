"""The Dagster definitions as a whole."""

import json
import subprocess
import sys

import dagster as dg
import pytest

from morph_assets.definitions import defs
from tests.support.command_line import REPOSITORY, clean_environment

HEAVY = ("torch", "pandas", "great_expectations", "sqlalchemy", "redis", "obstore", "sklearn", "matplotlib")
LOAD = """
import json, sys, time
import morph_assets.definitions
print(json.dumps({"cpu_s": time.process_time(), "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory) -> dict:
    """What a fresh process has imported once the definitions are loaded, where no platform is."""
    ran = subprocess.run(
        [sys.executable, "-c", LOAD],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path_factory.mktemp("nowhere"),
        env=clean_environment(),
    )
    return json.loads(ran.stdout) | {"stderr": ran.stderr}


def test_the_definitions_load():
    dg.Definitions.validate_loadable(defs)


@pytest.mark.parametrize("heavy", HEAVY)
def test_loading_them_imports_nothing_heavy(loaded, heavy):
    assert heavy not in loaded["modules"]


def test_loading_them_costs_less_than_six_cpu_seconds_and_says_nothing(loaded):
    assert loaded["cpu_s"] < 6
    assert not loaded["stderr"]


def test_every_asset_says_what_it_is_whose_it_is_and_where_it_belongs():
    graph = defs.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.owners, key
        assert node.kinds, key
        assert node.group_name != "default", key


def test_every_sensor_runs_by_itself():
    sensors = list(defs.sensors or [])

    assert {sensor.default_status for sensor in sensors} == {dg.DefaultSensorStatus.RUNNING}


def test_a_checkpoint_depends_on_every_published_kernel_not_on_one_of_its_runs_name():
    (spec,) = [found for found in defs.resolve_all_asset_specs() if found.key == dg.AssetKey("checkpoint")]
    (dep,) = spec.deps

    assert isinstance(dep.partition_mapping, dg.AllPartitionMapping)


def test_the_embedded_configuration_stands_in_the_repository_as_it_is_shipped():
    shipped = REPOSITORY / "morph_assets" / "devservices"

    assert (REPOSITORY / "dagster_home" / "dagster.yaml").read_bytes() == (shipped / "dagster.yaml").read_bytes()
    assert (REPOSITORY / "workspace.yaml").read_bytes() == (shipped / "workspace.yaml").read_bytes()
