"""`start_platform` leaves a platform that every role can use at once."""

import shutil
import stat

import psycopg
import pytest

from morph_assets.config import ROLES
from morph_assets.devservices.schema_stamp import plan_stamp, read_stamp
from morph_assets.usecases.start_platform import start_platform
from morph_assets.usecases.stop_platform import stop_platform
from morph_kernels.artifact.trust import load_trust
from morph_kernels.settings import read_endpoints
from tests.support.services import folders_of


@pytest.fixture(scope="module")
def endpoints(running_services):
    return read_endpoints({"MORPH_HOME": str(running_services.layout.home)})


@pytest.mark.parametrize("role", ROLES)
def test_every_role_logs_in_as_itself(endpoints, role):
    with psycopg.connect(endpoints.database_url(role)) as connection:
        login, superuser = connection.execute(
            "SELECT rolname, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user"
        ).fetchone()

    assert (login, superuser) == (f"morph_default_{role}", False)


def test_dagsters_login_cannot_open_the_registry(running_services, endpoints):
    url = endpoints.database_url("platform").split("@")[1]
    dagster = running_services.layout.endpoints_file.read_text().split("morph_dagster:")[1].split("@")[0]

    with pytest.raises(psycopg.OperationalError, match="permission denied"):
        psycopg.connect(f"postgresql://morph_dagster:{dagster}@{url}")


def test_the_trust_file_and_the_keys_are_there_and_private(running_services, endpoints):
    policy = load_trust(endpoints.trust_file)
    keys = list((running_services.layout.trust_dir / "keys").iterdir())

    assert policy.keys
    assert keys
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}


def test_a_second_start_changes_nothing(running_services):
    layout = running_services.layout
    before = {path: path.read_bytes() for path in (layout.endpoints_file, layout.secrets_file, layout.trust_file)}

    again = start_platform(folders_of(layout.home), tenant="default")

    assert not again.was_started
    assert {path: path.read_bytes() for path in before} == before


def test_another_tenant_gets_logins_of_its_own(project_folder):
    folders = folders_of(project_folder / ".morph")
    start_platform(folders, tenant="default")

    start_platform(folders, tenant="lab")

    endpoints = read_endpoints({"MORPH_HOME": str(folders.home)})
    with psycopg.connect(endpoints.database_url("trainer")) as connection:
        assert connection.execute("SELECT session_user").fetchone() == ("morph_lab_trainer",)


def test_a_new_data_folder_gets_its_schema_whatever_was_remembered(project_folder):
    folders = folders_of(project_folder / ".morph")
    layout = start_platform(folders, tenant="default").layout
    stop_platform(folders)
    shutil.rmtree(layout.postgres_data)

    start_platform(folders, tenant="default")

    assert read_stamp(layout, "default") == plan_stamp(layout, "default")
    endpoints = read_endpoints({"MORPH_HOME": str(folders.home)})
    with psycopg.connect(endpoints.database_url("platform")) as connection:
        assert connection.execute("SELECT session_user").fetchone() == ("morph_default_platform",)
