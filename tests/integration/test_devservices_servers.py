"""The embedded servers are real, private and durable."""

import stat
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from morph_assets.devservices.launch import living_state
from morph_kernels.settings import read_endpoints
from tests.support.services import bootstrap_url, valkey_url


def test_postgresql_answers_and_is_new_enough(fresh_database):
    with psycopg.connect(fresh_database) as connection:
        version = int(connection.execute("SHOW server_version_num").fetchone()[0])

    assert version >= 160000


@pytest.mark.parametrize("setting", ["fsync", "full_page_writes", "synchronous_commit", "data_checksums"])
def test_postgresql_is_durable(fresh_database, setting):
    with psycopg.connect(fresh_database) as connection:
        assert connection.execute(f"SHOW {setting}").fetchone()[0] == "on"


def test_text_sorts_by_code_point_whatever_the_machine(fresh_database):
    with psycopg.connect(fresh_database) as connection:
        found = connection.execute(
            "SELECT datlocprovider, datlocale FROM pg_database WHERE datname = current_database()"
        ).fetchone()

    assert found == ("b", "C.UTF-8")


@pytest.mark.parametrize("login", ["morph_bootstrap", "morph_dagster"])
@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_socket_does_not_let_anyone_in_without_the_password(running_services, login, password):
    host = running_services.layout.run

    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host=str(host), user=login, password=password, dbname="postgres", port=5432)


def test_no_server_listens_on_tcp_unless_asked(running_services):
    with psycopg.connect(bootstrap_url(running_services, "postgres")) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    with _valkey(running_services) as client:
        assert client.config_get("port") == {"port": "0"}


def test_dagsters_login_owns_its_database_and_sees_no_other_data(running_services):
    url = bootstrap_url(running_services, "dagster")
    with psycopg.connect(url) as connection:
        owner = connection.execute(
            "SELECT rolname, rolsuper FROM pg_database JOIN pg_roles r ON r.oid = datdba WHERE datname = 'dagster'"
        ).fetchone()

    assert owner == ("morph_dagster", False)


def test_valkey_wants_the_password(running_services):
    once = Retry(NoBackoff(), 0)
    client = redis.Redis(unix_socket_path=str(running_services.layout.redis_socket), retry=once)

    with pytest.raises(redis.AuthenticationError):
        client.ping()


def test_valkey_is_a_bounded_cache(running_services):
    with _valkey(running_services) as client:
        assert client.config_get("maxmemory*")["maxmemory"] == str(256 * 1024**2)
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lfu"}
        assert client.config_get("save") == {"save": ""}


def test_everything_in_the_home_is_private(running_services):
    home = running_services.layout.home
    readable = [
        path for path in (home, *home.iterdir(), *running_services.layout.run.iterdir()) if _open_to_others(path)
    ]

    assert readable == []


def test_no_password_stands_on_a_command_line(running_services):
    passwords = running_services.layout.secrets_file.read_text()
    state = running_services.layout.state_file.read_text()
    endpoints = read_endpoints({"MORPH_HOME": str(running_services.layout.home)})
    for url in (valkey_url(running_services), endpoints.redis_url, endpoints.redis_platform_url):
        secret = url.split(":")[2].split("@")[0]
        assert secret in passwords
        assert secret not in state
        assert secret not in running_services.layout.valkey_config.read_text()
        assert secret not in running_services.layout.valkey_users.read_text()
        for server in _servers(running_services):
            assert secret.encode() not in (_proc(server.pid) / "cmdline").read_bytes()


def _valkey(started):
    return redis.Redis.from_url(valkey_url(started), decode_responses=True)


def _servers(started):
    return living_state(started.layout).servers


def _proc(pid):
    return Path(f"/proc/{pid}")


def _open_to_others(path):
    return stat.S_IMODE(path.stat().st_mode) & 0o077 != 0 and not path.is_symlink()
