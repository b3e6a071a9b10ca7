"""The commands on caches and storage tiers, as people use them, against real servers."""

import json

import dagster as dg
import pytest

from morph_kernels.settings import ENDPOINTS_NAME
from tests.support.command_line import run_morph

pytestmark = pytest.mark.slow


@pytest.fixture
def environment(made_platform):
    return made_platform.environment()


@pytest.fixture
def morph(environment, tmp_path):
    def run(*arguments, status=0, **variables):
        ran = run_morph(*arguments, cwd=tmp_path, **(environment | variables))
        assert ran.returncode == status, ran.stderr
        return json.loads(ran.stdout) if "--json" in arguments else ran.stdout

    return run


@pytest.fixture
def dagster_home(made_platform, morph, tmp_path):  # noqa: ARG001 - morph writes the endpoints that this adds to
    """The home of an instance that this platform names as its own."""
    endpoints = made_platform.config.folders.home / ENDPOINTS_NAME
    endpoints.write_text(json.dumps(json.loads(endpoints.read_text()) | {"dagster_database_url": "unused"}))
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    return home


def test_an_eviction_by_command_is_shown_by_dagsters_asset(morph, made_platform, dagster_home):
    _, published = made_platform.published()
    made_platform.platform.warm_cache(["ffn_gelu"])

    morph("cache", "evict", "redis", "--budget-bytes", "0", "--dry-run", DAGSTER_HOME=str(dagster_home))
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        assert instance.get_latest_materialization_event(dg.AssetKey("cache_eviction")) is None
    morph("cache", "evict", "redis", "--budget-bytes", "0", DAGSTER_HOME=str(dagster_home))

    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        event = instance.get_latest_materialization_event(dg.AssetKey("cache_eviction")).asset_materialization
    facts = {name: value.value for name, value in event.metadata.items()}
    assert (facts["tier"], facts["evicted_count"]) == ("redis", 1)
    assert published.digest[:16] in facts["kernels"]


def test_the_kernels_of_a_run_plan_are_brought_into_redis(morph, made_platform, tmp_path):
    _, published = made_platform.published()
    plan = tmp_path / "plan.json"
    plan.write_bytes(made_platform.loader().plan(["ffn_gelu@production"]).to_bytes())
    made_platform.platform.connections.redis.drop_bundle(published.digest)

    assert morph("cache", "warm", "--run", str(plan), "--json") == {"warmed": [published.digest], "missed": []}

    assert [kernel.digest for kernel in made_platform.platform.connections.redis.kernels()] == [published.digest]
    assert morph("cache", "warm", "--run", "none.json", "--json", status=1)["error"]["type"] == "UnreadablePlanError"
    assert morph("cache", "warm", status=2) == ""


def test_the_storage_tiers_are_shown_with_their_reasons(morph, made_platform, tmp_path):
    _, kernel = made_platform.judged()
    policy = {"MORPH_COLD_STORE_URL": (tmp_path / "cold").as_uri(), "MORPH_COLD_DAYS": "0"}

    (nothing,) = morph("cache", "tiers", "--json")
    (planned,) = morph("cache", "tiers", "--json", **policy)
    (moving,) = morph("cache", "tiers", "--move", "--json", **policy)
    (moved,) = morph("cache", "tiers", "--json", **policy)

    assert (nothing["tier"], nothing["step"]) == ("warm", "none")
    assert (planned["tier"], planned["step"], planned["place"]) == ("cold", "move", "store")
    assert (moving["because"], moving["failed"]) == ("unused for 0 days", None)
    assert (moved["digest"], moved["step"], moved["place"]) == (kernel.digest, "none", "cold")
    refused = morph("cache", "tiers", "--json", status=1, MORPH_COLD_DAYS="soon")
    assert refused["error"]["type"] == "PlatformConfigError"


@pytest.mark.parametrize(
    ("arguments", "variables", "error", "says"),
    [
        (("cache", "stats"), {"MORPH_CACHE_DIR": "/dev/null"}, "NotADirectoryError", "/dev/null"),
        (("cache", "evict", "disk"), {"MORPH_CACHE_DIR": "/dev/null"}, "NotADirectoryError", "/dev/null"),
        (("doctor", "--cache"), {"MORPH_TENANT": "../x"}, "InvalidNameError", "../x"),
        (("doctor", "--cache"), {"MORPH_DEADLINE_S": "soon"}, "SettingsError", "MORPH_DEADLINE_S"),
    ],
)
def test_an_error_of_the_environment_is_a_document_too(morph, arguments, variables, error, says):
    found = morph(*arguments, "--json", status=1, **variables)["error"]
    assert (found["type"], found["retryable"]) == (error, False)
    assert says in found["message"]


def test_a_cursor_that_is_no_digest_is_refused(morph):
    assert morph("cache", "scrub", "--after", "zz", status=2) == ""


def test_a_file_that_is_too_large_for_a_plan_is_not_read_whole(morph, tmp_path):
    plan = tmp_path / "plan.json"
    with plan.open("wb") as file:
        file.truncate(1 << 40)
    assert "at most" in morph("cache", "warm", "--run", str(plan), "--json", status=1)["error"]["message"]
