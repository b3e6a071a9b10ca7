"""`morph up`, `status`, `env`, `logs` and `down` on real servers."""

import json
import subprocess
from datetime import datetime

import psycopg
import pytest

from morph_kernels.settings import read_endpoints
from tests.support.command_line import clean_environment, morph_command, run_morph

pytestmark = pytest.mark.slow

THE_THREE = ("MORPH_DATABASE_URL", "MORPH_REDIS_URL", "MORPH_STORE_URL")


@pytest.fixture
def project(project_folder):
    ran = run_morph("up", cwd=project_folder)
    assert ran.returncode == 0, ran.stderr
    return project_folder


def test_a_whole_life_of_the_servers(project):
    home = project / ".morph"
    again = run_morph("up", cwd=project)
    status = run_morph("status", "--json", cwd=project)
    logs = run_morph("logs", "postgres", cwd=project)
    down = run_morph("down", cwd=project)
    after = run_morph("status", "--json", cwd=project)
    purged = run_morph("down", "--purge", cwd=project)

    assert "already running" in again.stdout
    assert status.returncode == 0
    services = json.loads(status.stdout)["services"]
    assert {service["name"]: service["state"] for service in services} == {
        "supervisor": "ready",
        "postgres": "ready",
        "valkey": "ready",
    }
    assert datetime.fromisoformat(services[1]["since"]).utcoffset() is not None
    assert "ready to accept connections" in logs.stdout
    assert down.stdout.strip() == "stopped"
    assert after.returncode == 1
    assert purged.returncode == 0
    assert not home.exists()
    assert not (project / ".env").exists()


def test_env_and_dotenv_carry_what_dagster_needs_and_never_the_three_urls(project):
    printed = subprocess.run(
        ["/bin/sh", "-c", 'eval "$1"; env', "sh", run_morph("env", cwd=project).stdout],
        capture_output=True,
        text=True,
        check=True,
        env={},
    ).stdout
    dotenv = (project / ".env").read_text()

    for text in (printed, dotenv):
        assert all(name in text for name in ("MORPH_HOME=", "DAGSTER_HOME=", "MORPH_DAGSTER_DATABASE_URL="))
        assert not any(f"{name}=" in text for name in THE_THREE)
    assert (project / ".env").stat().st_mode & 0o777 == 0o600


def test_dagsters_url_logs_in_through_sqlalchemy(project):
    import sqlalchemy

    exports = dict(
        line.removeprefix("export ").split("=", 1) for line in run_morph("env", cwd=project).stdout.splitlines()
    )
    url = exports["MORPH_DAGSTER_DATABASE_URL"].strip("'")

    with sqlalchemy.create_engine(url).connect() as connection:
        found = connection.execute(sqlalchemy.text("SELECT current_user, current_database()")).one()

    assert url.startswith("postgresql+psycopg2://")
    assert tuple(found) == ("morph_dagster", "dagster")


def test_the_home_is_found_from_a_folder_below_the_project(project):
    below = project / "deep" / "down"
    below.mkdir(parents=True)

    assert run_morph("status", cwd=below).returncode == 0
    assert not (below / ".morph").exists()


def test_a_stray_postgresql_environment_changes_nothing(project):
    ran = run_morph("up", cwd=project, PGPORT="1", PGHOST="/nowhere", PGUSER="x", PGDATABASE="x")

    assert ran.returncode == 0, ran.stderr


def test_following_a_log_prints_what_is_added(project):
    home = project / ".morph"
    nobody = f"postgresql://nobody_at_all:wrong@/morph?host={home}/run&port=5432"
    with subprocess.Popen(
        morph_command("logs", "postgres", "--lines", "1", "--follow"),
        cwd=project,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    ) as follower:
        try:
            assert follower.stdout.readline().startswith("postgres: ")  # it follows from here on
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(nobody)
            assert any("nobody_at_all" in line for line in iter(follower.stdout.readline, ""))
        finally:
            follower.kill()


def test_production_servers_are_checked_and_nothing_is_started(project):
    endpoints = read_endpoints({"MORPH_HOME": str(project / ".morph")})
    elsewhere = project / "elsewhere"
    elsewhere.mkdir()
    dagster_url = json.loads((project / ".morph" / "endpoints.json").read_text())["dagster_database_url"]
    urls = {
        "MORPH_DATABASE_URL": dagster_url.replace("+psycopg2", ""),
        "MORPH_REDIS_URL": endpoints.redis_url,
        "MORPH_REDIS_PLATFORM_URL": endpoints.redis_platform_url,
        "MORPH_STORE_URL": endpoints.store_url,
    }

    ran = run_morph("up", cwd=elsewhere, home=elsewhere / "home", **urls)

    assert ran.returncode == 0, ran.stderr
    assert [line.split(" answers")[0] for line in ran.stdout.splitlines()] == ["PostgreSQL", "Redis", "Object store"]

    urls["MORPH_REDIS_PLATFORM_URL"] = ""
    ran = run_morph("up", cwd=elsewhere, home=elsewhere / "home", **urls)

    assert ran.returncode == 1
    assert "name the platform's user, not the loader's, in MORPH_REDIS_PLATFORM_URL" in ran.stderr
    assert list(elsewhere.iterdir()) == []


def test_a_production_server_that_does_not_answer_is_one_line(project_folder):
    urls = {
        "MORPH_DATABASE_URL": "postgresql://someone:hidden@127.0.0.1:1/morph",
        "MORPH_REDIS_URL": "redis://:hidden@127.0.0.1:1/0",
        "MORPH_STORE_URL": f"file://{project_folder}",
    }

    ran = run_morph("up", cwd=project_folder, **urls)

    assert ran.returncode == 1
    assert [line.split(":")[1].strip() for line in ran.stderr.splitlines()] == ["PostgreSQL", "Redis"]
    assert "hidden" not in ran.stderr
    assert not (project_folder / ".morph").exists()


def test_half_a_production_profile_is_refused(project_folder):
    ran = run_morph("up", cwd=project_folder, MORPH_DATABASE_URL="postgresql:///x")

    assert ran.returncode == 1
    assert "MORPH_REDIS_URL and MORPH_STORE_URL not set" in ran.stderr
