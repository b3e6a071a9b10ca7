"""The production configuration on real servers: what runs print lands in the bucket."""

import json
import shutil
import subprocess
import sys

import pytest

from morph_kernels.store import open_store
from tests.support.command_line import REPOSITORY, clean_environment

PRODUCTION = REPOSITORY / "dagster_home" / "production"


@pytest.fixture
def production(tmp_path, running_services, seaweedfs) -> dict[str, str]:
    """The environment of a process that uses a copy of the production home."""
    home = tmp_path / "production"
    shutil.copytree(PRODUCTION, home, ignore=lambda _folder, names: {n for n in names if not n.endswith(".yaml")})
    endpoints = json.loads(running_services.layout.endpoints_file.read_bytes())
    return clean_environment(
        running_services.layout.home,
        DAGSTER_HOME=str(home),
        MORPH_DAGSTER_DATABASE_URL=endpoints["dagster_database_url"],
        MORPH_DAGSTER_LOGS_BUCKET="morph",
        MORPH_DAGSTER_LOGS_ENDPOINT=seaweedfs.endpoint,
        AWS_ACCESS_KEY_ID=seaweedfs.access_key_id,
        AWS_SECRET_ACCESS_KEY=seaweedfs.secret_access_key,
        AWS_DEFAULT_REGION="us-east-1",
    )


def materialize(environment: dict[str, str], cwd) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "morph_assets.definitions"]
    return subprocess.run(
        [*command, "--select", "cache_state"],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=240,
    )


def test_what_a_run_prints_lands_in_the_bucket(production, seaweedfs, tmp_path):
    ran = materialize(production, tmp_path)

    assert ran.returncode == 0, ran.stderr
    store = open_store(seaweedfs.url("morph", "dagster"))
    kept = {entry.key: entry.size_bytes for entry in store.list_objects("")}
    (errors,) = [key for key in kept if key.endswith(".err") and kept[key]]
    assert b"cache_state" in store.get(errors, max_bytes=1024 * 1024)


@pytest.mark.parametrize("variable", ["MORPH_DAGSTER_DATABASE_URL", "MORPH_DAGSTER_LOGS_BUCKET"])
def test_a_variable_that_is_not_set_is_named(production, tmp_path, variable):
    del production[variable]

    ran = materialize(production, tmp_path)

    assert ran.returncode != 0
    assert variable in ran.stderr
