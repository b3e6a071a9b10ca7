"""The Valkey of a home that two tenants share: each has its own two users, whatever happens to the server."""

import os
import signal
import stat
from dataclasses import replace

import pytest
import redis
from redis.exceptions import ResponseError

from morph_assets.config import read_config
from morph_assets.connections import Connections
from morph_assets.devservices.errors import ServicesError
from morph_assets.devservices.launch import living_state
from morph_assets.devservices.servers import VALKEY
from morph_assets.devservices.valkey_users import load_users
from morph_assets.usecases.start_platform import start_platform
from morph_assets.usecases.stop_platform import stop_platform
from morph_kernels.cache.redis_tier import RedisTier
from morph_kernels.identity import InvalidNameError, KernelDigest
from morph_kernels.settings import read_endpoints
from tests.contract.remote_tier import DATA, DIGEST
from tests.support.services import folders_of, valkey_url

OTHER = KernelDigest("b" * 64)


class Home:
    """One home and what its endpoints file said after each tenant's `morph up`."""

    def __init__(self, folder):
        self.folders, self.endpoints = folders_of(folder / ".morph"), {}
        for tenant in ("default", "lab"):
            self.up(tenant)

    def up(self, tenant):
        self.started = start_platform(self.folders, tenant=tenant)
        self.endpoints[tenant] = read_endpoints({"MORPH_HOME": str(self.folders.home)})

    def loader(self, tenant, *, of=None):
        return RedisTier(self.endpoints[of or tenant].redis_url, tenant=tenant)

    def platform(self, tenant, *, of=None):
        return RedisTier(self.endpoints[of or tenant].redis_platform_url, tenant=tenant)

    def require_all_users(self):
        for tenant in ("default", "lab"):
            self.platform(tenant).put_index("ffn_gelu", 1, tenant.encode())
            assert self.loader(tenant).find_index("ffn_gelu") == tenant.encode()


@pytest.fixture(scope="module")
def home(short_folder):
    folder = short_folder / "tenants"
    folder.mkdir()
    made = Home(folder)
    yield made
    stop_platform(made.folders)


@pytest.mark.parametrize("role", ["loader", "platform"])
def test_neither_user_of_a_tenant_reaches_anothers_keys(home, role):
    home.require_all_users()
    intruder = getattr(home, role)("lab", of="default")
    for attempt in (
        lambda: intruder.find_index("ffn_gelu"),
        lambda: intruder.find_bundle(DIGEST, max_bytes=len(DATA)),
        lambda: intruder.put_bundle(OTHER, DATA),
        lambda: intruder.put_index("ffn_gelu", 9, b"ours"),
        lambda: intruder.bound(10**9),
    ):
        with pytest.raises(ResponseError, match="ermission"):
            attempt()
    home.require_all_users()


def test_the_loaders_user_moves_neither_cap_nor_pins_nor_indexes(home):
    loader = home.loader("default")
    assert loader.put_bundle(DIGEST, DATA)
    client = loader._connect()
    for attempt in (
        lambda: loader.put_index("ffn_gelu", 9, b"old"),
        lambda: loader.bound(10**9),
        lambda: client.set("morph:default:cap", "1"),
        lambda: client.sadd("morph:default:pins", DIGEST),
        lambda: client.delete("morph:default:pins"),
        client.acl_load,
        lambda: client.config_get("aclfile"),
    ):
        with pytest.raises(ResponseError, match="ermission"):
            attempt()
    home.platform("default").bound(10**9, pins=[DIGEST])
    assert loader.find_bundle(DIGEST, max_bytes=len(DATA)) == DATA


def test_processes_of_the_platform_use_its_own_user(home):
    config = read_config({"MORPH_HOME": str(home.folders.home), "MORPH_TENANT": "lab"}, start=home.folders.project)
    with Connections(config) as connections:
        assert connections.redis.limit_bytes() == 256 * 1024**2
        assert connections.best_effort("redis_index", lambda redis: redis.put_index("ffn_gelu", 1, b"lab"))


def test_another_up_cuts_no_connection_of_the_users_that_stay(home):
    loader = home.loader("default")
    feed = loader.open_feed()
    for tenant in ("lab", "default", "third"):
        home.up(tenant)
    home.platform("default").put_index("ffn_gelu", 1, b"default")
    assert feed.read(5.0) == {"ffn_gelu"}
    feed.close()
    home.require_all_users()


def test_a_valkey_that_was_killed_comes_back_with_all_users(home):
    before = living_state(home.started.layout).server(VALKEY)
    os.kill(before.pid, signal.SIGKILL)
    home.up("lab")
    assert living_state(home.started.layout).server(VALKEY).pid != before.pid
    home.require_all_users()


def test_servers_that_were_stopped_come_back_with_all_users(home):
    before = dict(home.endpoints)
    stop_platform(home.folders)
    home.up("default")
    assert home.endpoints["default"] == before["default"]
    home.require_all_users()


def test_users_that_were_lost_are_back_with_the_next_up(home):
    layout = home.started.layout
    layout.valkey_users.write_text("")
    with redis.Redis.from_url(valkey_url(home.started)) as administrator:
        administrator.acl_deluser("morph_default_loader")
        with pytest.raises(redis.AuthenticationError):
            home.loader("default").find_index("ffn_gelu")
        home.up("lab")
    home.require_all_users()
    assert stat.S_IMODE(layout.valkey_users.stat().st_mode) == 0o600


def test_a_file_of_users_that_the_server_refuses_changes_nothing_and_is_said_in_one_line(home):
    layout = home.started.layout
    good = layout.valkey_users.read_text()
    layout.valkey_users.write_text(f"{good}user lab on nonsense\n")
    password = valkey_url(home.started).split(":")[2].split("@")[0]
    with pytest.raises(ServicesError, match="`morph down` first") as refused:
        load_users(layout, password=password)
    assert len(str(refused.value).splitlines()) == 1
    assert password not in str(refused.value)
    layout.valkey_users.write_text(good)
    home.require_all_users()


def test_a_server_that_is_gone_reads_its_users_when_it_starts(home, tmp_path):
    layout = replace(home.started.layout, home=tmp_path)
    assert not load_users(layout, password="unused")


def test_a_tenant_whose_name_is_none_leaves_no_user_behind(home):
    before = home.started.layout.secrets_file.read_bytes()
    with pytest.raises(InvalidNameError):
        start_platform(home.folders, tenant="lab ~*")
    assert home.started.layout.secrets_file.read_bytes() == before
    home.require_all_users()
