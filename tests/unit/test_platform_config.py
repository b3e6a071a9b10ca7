"""The platform's one reader of the environment."""

import json

import pytest

from morph_assets.config import PlatformConfigError, read_config, read_external, read_folders
from morph_assets.devservices.layout import HomeLayout
from morph_kernels.settings import read_endpoints

THREE = {
    "MORPH_DATABASE_URL": "postgresql://u:secret@db/morph",
    "MORPH_REDIS_URL": "redis://:secret@cache/0",
    "MORPH_STORE_URL": "s3://bucket?secret_access_key=secret",
}


def test_without_any_setting_the_home_is_in_the_current_folder(tmp_path):
    folders = read_folders({}, start=tmp_path)

    assert folders.home == tmp_path / ".morph"
    assert folders.project == tmp_path
    assert folders.dagster_home == tmp_path / "dagster_home"
    assert folders.keys_dir == HomeLayout(folders.home).trust_dir / "keys"


def test_a_home_further_up_is_found(tmp_path):
    (tmp_path / ".morph").mkdir()
    (tmp_path / ".morph" / "endpoints.json").write_text('{"format": 1}')

    folders = read_folders({}, start=tmp_path / "a" / "b")

    assert folders.home == tmp_path / ".morph"
    assert folders.project == tmp_path


def test_a_home_elsewhere_leaves_the_project_in_the_current_folder(tmp_path):
    folders = read_folders({"MORPH_HOME": "/run/m"}, start=tmp_path)

    assert str(folders.home) == "/run/m"
    assert folders.project == tmp_path


def test_three_urls_are_the_production_profile_and_never_printed(tmp_path):
    config = read_config(THREE, start=tmp_path)

    assert config.external.is_production
    assert config.endpoints.database_url("trainer") == THREE["MORPH_DATABASE_URL"]
    assert "secret" not in repr(config)


def test_a_store_alone_goes_with_the_embedded_servers():
    external = read_external({"MORPH_STORE_URL": "file:///data"})

    assert not external.is_production
    assert external.store_url == "file:///data"


def test_the_platforms_user_of_redis_is_the_one_that_is_asked_whether_the_server_can_be_used():
    platforms = "redis://morph_default_platform:secret@cache/0"

    assert read_external(THREE).redis_url == THREE["MORPH_REDIS_URL"]
    assert read_external(THREE | {"MORPH_REDIS_PLATFORM_URL": platforms}).redis_url == platforms
    assert read_external({"MORPH_REDIS_PLATFORM_URL": platforms}).redis_url is None


def test_a_redis_that_the_environment_names_is_not_asked_as_the_user_of_the_homes_own(tmp_path):
    files = {"format": 1, "redis_url": "unix://loader@/s", "redis_platform_url": "unix://platform@/s"}
    (tmp_path / "endpoints.json").write_text(json.dumps(files))
    home = {"MORPH_HOME": str(tmp_path)}

    def found(**named):
        endpoints = read_endpoints(home | named)
        return endpoints.redis_url, endpoints.redis_platform_url

    assert found() == ("unix://loader@/s", "unix://platform@/s")
    assert found(MORPH_REDIS_URL="redis://elsewhere") == ("redis://elsewhere", None)
    assert found(MORPH_REDIS_PLATFORM_URL="redis://us@elsewhere") == ("unix://loader@/s", "redis://us@elsewhere")
    both = found(MORPH_REDIS_URL="redis://elsewhere", MORPH_REDIS_PLATFORM_URL="redis://us@elsewhere")
    assert both == ("redis://elsewhere", "redis://us@elsewhere")


@pytest.mark.parametrize(
    "named", [{"MORPH_DATABASE_URL"}, {"MORPH_REDIS_URL"}, {"MORPH_DATABASE_URL", "MORPH_REDIS_URL"}]
)
def test_half_a_profile_is_refused_with_what_is_missing(named):
    with pytest.raises(PlatformConfigError) as refused:
        read_external({name: THREE[name] for name in named})

    assert all(name in str(refused.value) for name in set(THREE) - named - {"MORPH_STORE_URL"})


def test_scrubs_read_at_the_rate_that_the_environment_names(tmp_path):
    assert read_config({}, start=tmp_path).scrub_bytes_per_s == 32 * 1024**2
    assert read_config({"MORPH_SCRUB_BYTES_PER_S": "1000"}, start=tmp_path).scrub_bytes_per_s == 1000


@pytest.mark.parametrize("rate", ["0", "-5", "1e6", "much", "\u0663"])
def test_a_rate_that_is_no_whole_number_above_zero_is_refused_by_name(tmp_path, rate):
    with pytest.raises(PlatformConfigError, match="MORPH_SCRUB_BYTES_PER_S"):
        read_config({"MORPH_SCRUB_BYTES_PER_S": rate}, start=tmp_path)
