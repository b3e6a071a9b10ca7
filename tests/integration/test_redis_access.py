"""Each of a tenant's users on a real server: it does its own work and nothing else."""

import threading
from pathlib import Path

import pytest
import redis
from redis.exceptions import NoPermissionError, ResponseError

from morph_assets.devservices.production import check_redis
from morph_assets.redis_access import redis_rules, redis_user
from morph_kernels.cache.redis_tier import RedisTier
from morph_kernels.identity import KernelDigest
from tests.contract.remote_tier import DATA, DIGEST

ROOT = Path(__file__).parents[2]
OTHER = KernelDigest("b" * 64)


@pytest.fixture
def url(valkey):
    """Return the URL of a tenant's user, made from the line that an operator would set."""
    for tenant in ("ours", "theirs"):
        for role in ("loader", "platform"):
            _, name, *rules = redis_rules(tenant, role, password="secret").split()
            valkey.client().execute_command("ACL", "SETUSER", name, "reset", *rules)

    def of(tenant, role):
        return f"redis://{redis_user(tenant, role)}:secret@127.0.0.1:{valkey.port}/0"

    yield of
    for tenant in ("ours", "theirs"):
        for role in ("loader", "platform"):
            valkey.client().execute_command("ACL", "DELUSER", redis_user(tenant, role))


@pytest.fixture
def loader(url):
    return RedisTier(url("ours", "loader"), tenant="ours")


@pytest.fixture
def platform(url):
    return RedisTier(url("ours", "platform"), tenant="ours")


def test_the_platform_publishes_bounds_and_counts(platform):
    platform.put_index("ffn_gelu", 3, b"third")
    assert platform.put_bundle(DIGEST, DATA)
    assert platform.bound(len(DATA), pins=[DIGEST]) == []
    assert not platform.put_bundle(OTHER, DATA)
    assert [kernel.digest for kernel in platform.kernels()] == [DIGEST]
    assert platform.limit_bytes() is None
    platform.drop_bundle(DIGEST)
    assert platform.find_index("ffn_gelu") == b"third"


def test_a_loader_finds_listens_and_gives_bundles_back_under_the_cap(platform, loader):
    platform.bound(len(DATA))
    feed = loader.open_feed()
    platform.put_index("ffn_gelu", 1, b"first")
    assert feed.read(5.0) == {"ffn_gelu"}
    assert feed.read(0.01) == frozenset()
    feed.close()
    assert loader.find_index("ffn_gelu") == b"first"
    assert loader.put_bundle(DIGEST, DATA)
    assert loader.put_bundle(OTHER, DATA)
    assert loader.find_bundle(DIGEST, max_bytes=len(DATA)) is None
    assert loader.find_bundle(OTHER, max_bytes=len(DATA)) == DATA


def test_a_loader_hides_no_revocation_and_moves_no_bound(platform, loader):
    platform.put_index("ffn_gelu", 2, b"second")
    platform.bound(len(DATA), pins=[DIGEST])
    with pytest.raises(NoPermissionError):
        loader.put_index("ffn_gelu", 3, b"old")
    with pytest.raises(ResponseError, match="ermission"):
        loader.bound(10**9)
    client = loader._connect()
    for command in (
        ("DEL", "morph:ours:index:ffn_gelu"),
        ("SET", "morph:ours:cap", "1"),
        ("FLUSHALL",),
        ("KEYS", "*"),
        ("INFO",),
        ("CLIENT", "LIST"),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
    ):
        with pytest.raises(NoPermissionError):
            client.execute_command(*command)
    assert platform.find_index("ffn_gelu") == b"second"


@pytest.mark.parametrize("role", ["loader", "platform"])
def test_no_user_reads_or_writes_another_tenants_keys(url, role):
    theirs = RedisTier(url("theirs", "platform"), tenant="theirs")
    theirs.put_index("secret_plan", 1, b"theirs")
    theirs.put_bundle(DIGEST, DATA)
    intruder = RedisTier(url("ours", role), tenant="theirs")
    for attempt in (
        lambda: intruder.find_index("secret_plan"),
        lambda: intruder.find_bundle(DIGEST, max_bytes=len(DATA)),
        lambda: intruder.put_bundle(OTHER, DATA),
        lambda: intruder.drop_bundle(DIGEST),
        lambda: intruder.put_index("secret_plan", 9, b"ours"),
    ):
        with pytest.raises(ResponseError, match="ermission"):
            attempt()
    assert theirs.find_index("secret_plan") == b"theirs"


@pytest.mark.parametrize("role", ["loader", "platform"])
def test_no_user_is_told_even_the_names_of_another_tenants_changes(url, role):
    """Valkey checks no key pattern of CLIENT TRACKING in broadcast mode, so nobody may use that either."""
    with pytest.raises(NoPermissionError):
        RedisTier(url("ours", role), tenant="theirs").open_feed()
    client = RedisTier(url("ours", role), tenant="ours")._connect()
    for command in (
        ("CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "morph:theirs:index:"),
        ("CLIENT", "TRACKING", "ON", "BCAST"),
        ("SUBSCRIBE", "morph:theirs:changed"),
        ("SUBSCRIBE", "__keyevent@0__:set"),
        ("PSUBSCRIBE", "*"),
        ("PSUBSCRIBE", "morph:*"),
        ("SSUBSCRIBE", "morph:theirs:changed"),
        ("PUBSUB", "CHANNELS"),
        ("MONITOR",),
        ("PUBLISH", "morph:theirs:changed", "secret_plan"),
    ):
        with pytest.raises(NoPermissionError):
            client.execute_command(*command)


def test_a_loader_tells_nobody_of_changes(loader):
    with pytest.raises(NoPermissionError):
        loader._connect().publish("morph:ours:changed", "ffn_gelu")


def test_what_is_told_while_the_feed_asks_whether_the_server_lives_is_not_lost(platform, loader, valkey):
    feed = loader.open_feed()
    # The question and the change arrive at the server together: the push may come before the answer or after it.
    valkey.client().client_pause(300, all=True)
    publisher = threading.Thread(target=platform.put_index, args=("ffn_gelu", 1, b"first"))
    publisher.start()
    told = feed.read(0.05) | feed.read(0.05)
    publisher.join()
    assert told | feed.read(1.0) == {"ffn_gelu"}
    feed.close()


def test_a_loader_is_told_of_no_other_tenant(url, loader):
    feed = loader.open_feed()
    RedisTier(url("theirs", "platform"), tenant="theirs").put_index("ffn_gelu", 1, b"theirs")
    assert feed.read(0.2) == frozenset()
    feed.close()


def test_a_wrong_password_opens_nothing(url):
    wrong = url("ours", "loader").replace("secret", "wrong")
    with pytest.raises(redis.AuthenticationError):
        RedisTier(wrong, tenant="ours").find_index("ffn_gelu")


@pytest.mark.parametrize("role", ["loader", "platform"])
def test_the_documented_users_are_the_tested_ones(role):
    documented = (ROOT / "docs" / "operations.md").read_text().splitlines()
    rules = redis_rules("default", role, password="secret").split()
    line = next(line for line in documented if line.startswith(f"user {redis_user('default', role)} "))
    words = line.replace("#<sha256 of the password>", "#").split()
    assert words == ["#" if word.startswith("#") else word for word in rules]


def test_morph_up_may_check_the_server_as_the_platforms_user(url):
    answer = check_redis(url("ours", "platform"))
    assert answer.usable, answer.detail
