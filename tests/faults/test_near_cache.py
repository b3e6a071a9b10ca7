"""Indexes in a loader's memory, while Redis is written, flushed, stopped, killed and its connections are cut."""

import contextlib
import random
import signal
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest
from redis.exceptions import RedisError

from morph_kernels.artifact.index import IndexDocument, sign_index
from morph_kernels.artifact.trust import Role, load_trust
from morph_kernels.cache.breaker import Breaker
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.cache.redis_tier import RedisTier
from morph_kernels.cache.store_tier import StoreTier
from morph_kernels.cache.tier import GuardedTier
from morph_kernels.loader.index_cache import IndexCache
from morph_kernels.loader.index_watch import IndexWatch
from tests.support.publishing import Publisher
from tests.support.valkey import Valkey

pytestmark = pytest.mark.slow

NAMES = ("ffn_a", "ffn_b", "ffn_c")
MARK = "mark-"
STORM_S = 5.0


class Scene:
    """One host's indexes, one writer, one server; every write is followed by a mark that is pushed after it."""

    def __init__(self, folder, valkey, patience_s):
        self.valkey, self.publisher = valkey, Publisher(folder)
        self.redis = RedisTier(valkey.url, tenant="default")
        self.store = StoreTier(self.publisher.store_url, tenant="default", timeout_s=5.0)
        self.signer = self.publisher.signer(Role.PUBLISHER)
        self.published, self.acknowledged, self.marks = 0, dict.fromkeys(NAMES, 0), {}
        remote = [
            GuardedTier(RedisTier(valkey.url, tenant="default"), breaker=Breaker(rest_s=0.1)),
            GuardedTier(self.store),
        ]
        policy = load_trust(folder / "trust" / "trust.json")
        disk = DiskFolder(folder / "cache", tenant="default")
        self.cache = IndexCache(tenant="default", trust=lambda: policy, folder=disk, remote=remote, refresh_s=600)
        self.watch = IndexWatch(self, self.cache, refresh_s=1, patience_s=patience_s)

    def publish(self, name):
        """Write the next generation as the platform does: the store must take it, Redis may."""
        self.published += 1
        now = datetime.now(UTC)
        document = IndexDocument(
            tenant="default",
            name=name,
            generation=self.published,
            issued_at=now - timedelta(seconds=5),
            expires_at=now + timedelta(days=1),
            aliases={},
            releases={},
            variants=(),
            revoked=frozenset(),
        )
        envelope = sign_index(document, self.signer)
        self.store.put_index(name, self.published, envelope)
        self.marks[f"{MARK}{self.published}"] = (name, self.published)
        # The storm stops and kills the server; what it does not take, the store has.
        with contextlib.suppress(RedisError, OSError):
            self.redis.put_index(name, self.published, envelope)
            self.valkey.client().publish("morph:default:changed", f"{MARK}{self.published}")

    def open_feed(self):
        """Return a feed that notes which generations the watch has taken notice of."""
        return NotingFeed(self, RedisTier(self.valkey.url, tenant="default").open_feed())


class NotingFeed:
    """A feed, read as it is. Who reads again has taken what was read before: that is when it counts as acknowledged."""

    def __init__(self, scene, feed):
        self.scene, self.feed, self.handed = scene, feed, frozenset()

    def read(self, wait_s):
        """Return the feed's answer."""
        for mark in self.handed:
            if mark in self.scene.marks:
                name, generation = self.scene.marks[mark]
                self.scene.acknowledged[name] = max(generation, self.scene.acknowledged[name])
        answer = self.feed.read(wait_s)
        self.handed = answer or frozenset()
        return answer

    def close(self):
        """End it."""
        self.feed.close()


# Without patience the watch only takes notice, and whoever looks for an index must ask for it.
@pytest.fixture(params=[0.0, 5.0], ids=["notices", "asks"])
def scene(tmp_path, request):
    valkey = Valkey(tmp_path)
    valkey.start()
    made = Scene(tmp_path, valkey, request.param)
    made.watch.start()
    yield made
    made.watch.stop()
    valkey.stop()


def trouble(scene, chance):
    """Do one thing to the server that happens to servers."""
    match chance.choice(["cut", "cut", "flush", "stop", "kill"]):
        case "cut":
            scene.valkey.client().client_kill_filter(_type="normal")
        case "flush":
            scene.valkey.client().flushall()
        case "stop":
            scene.valkey.process.send_signal(signal.SIGSTOP)
            threading.Event().wait(chance.uniform(0.05, 0.3))
            scene.valkey.process.send_signal(signal.SIGCONT)
        case "kill":
            scene.valkey.stop()
            scene.valkey.start()


def test_no_answer_is_older_than_an_acknowledged_invalidation(scene):
    chance, ended, wrong, answers = random.Random(4), threading.Event(), [], []  # noqa: S311 - nothing secret
    for name in NAMES:
        scene.publish(name)

    def read(seed):
        mine = random.Random(seed)  # noqa: S311 - nothing secret
        while not ended.is_set():
            name = mine.choice(NAMES)
            acknowledged = scene.acknowledged[name]
            hit = scene.cache.find(name, Deadline(10))
            answers.append(hit.generation)
            if hit.generation < acknowledged:
                wrong.append((name, hit.generation, acknowledged))

    def write():
        mine = random.Random(7)  # noqa: S311 - nothing secret
        while not ended.wait(mine.choice([0.001, 0.01])):
            scene.publish(mine.choice(NAMES))

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(2)] + [threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    # As long as it takes, on a busy machine, that invalidations came through and connections were lost.
    while time.monotonic() - began < STORM_S or not (was_one(scene) or time.monotonic() - began > 10 * STORM_S):
        trouble(scene, chance)
        ended.wait(chance.uniform(0.1, 0.6))
    ended.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert was_one(scene)
    # Memory answered more often than servers did.
    assert len(answers) > scene.published


def was_one(scene):
    """Return whether enough happened to make a storm."""
    return max(scene.acknowledged.values()) > 20 and scene.watch.snapshot().get("connected", 0) > 2
