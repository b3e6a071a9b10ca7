"""A job loads at random while kernels are published, revoked, evicted and damaged, and servers fail beneath it.

`make soak` does it for ten minutes; MORPH_SOAK_SEED repeats the choices.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import pytest

from morph_kernels.blueprint import Blueprint
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.cache.disk_tier import DiskTier
from morph_kernels.cache.redis_tier import RedisTier
from morph_kernels.identity import KernelDigest
from morph_kernels.store.keys import bundle_key
from tests.support.command_line import REPOSITORY, clean_environment
from tests.support.kernels import TestKernel
from tests.support.publishing import Publisher
from tests.support.traps import remade
from tests.support.valkey import Valkey

SOAK_S = float(os.environ.get("MORPH_SOAK_S", "12"))
DEADLINE_S, REFRESH_S = 2.0, 1.0
NAMES = [f"kernel{number}" for number in range(6)]
KERNELS = 5
pytestmark = [pytest.mark.slow, pytest.mark.timed, pytest.mark.timeout(SOAK_S + 240)]


@dataclass
class Ground:
    """What is published, and everything that happens to it."""

    publisher: Publisher
    valkey: Valkey
    kernels: dict[str, list[TestKernel]]
    chance: random.Random
    revoked: dict[str, dict[KernelDigest, float]] = field(default_factory=lambda: {name: {} for name in NAMES})

    @property
    def disk(self) -> DiskTier:
        return DiskTier(DiskFolder(self.publisher.folder / "host" / "cache", tenant="default"))

    def publish(self, name: str) -> None:
        """Tell loaders of the kernels of a name that are not revoked, in the store and in Redis."""
        good = [kernel for kernel in self.kernels[name] if kernel.manifest.digest not in self.revoked[name]]
        for kernel in good:
            self.publisher.publish(kernel)
        revoked = frozenset(self.revoked[name])
        variants = [self.publisher.variant(kernel) for kernel in good[:1]]
        envelope = self.publisher.publish_index(self.kernels[name][0], variants, revoked=revoked)
        RedisTier(self.valkey.url, tenant="default").put_index(name, self.publisher.generation, envelope)

    def republish(self) -> None:
        self.publish(self.chance.choice(NAMES))

    def revoke(self) -> None:
        name = self.chance.choice(NAMES)
        good = [
            kernel.manifest.digest for kernel in self.kernels[name] if kernel.manifest.digest not in self.revoked[name]
        ]
        if len(good) > 1:
            self.revoked[name][good[0]] = float("inf")
            self.publish(name)
            self.revoked[name][good[0]] = time.monotonic()

    def evict(self) -> None:
        for digest in self.disk.digests():
            if self.chance.random() < 0.5:
                self.disk.drop(digest)

    def damage_disk(self) -> None:
        """Put other bytes into the place of a library; a process that has linked it keeps what it linked."""
        kernels = self.publisher.folder / "host" / "cache" / "default" / "kernels"
        # The job makes and drops entries at the same time.
        libraries = sorted(library for digest in self.disk.digests() for library in (kernels / digest).glob("*.so"))
        with contextlib.suppress(FileNotFoundError, IndexError):
            library = self.chance.choice(libraries)
            other = library.with_name(".damaged")
            other.write_bytes(_flipped(library.read_bytes(), self.chance))
            other.chmod(0o400)
            other.rename(library)

    def damage_redis(self) -> None:
        client = self.valkey.client()
        for key in client.keys("morph:default:bundle:*"):
            client.set(key, _flipped(client.get(key) or b"x", self.chance))

    def flush_redis(self) -> None:
        self.valkey.client().flushall()

    def stop_redis(self) -> None:
        os.kill(self.valkey.process.pid, signal.SIGSTOP)
        time.sleep(self.chance.random())
        os.kill(self.valkey.process.pid, signal.SIGCONT)

    def damage_store(self) -> None:
        """Damage a bundle in the store and mend it again."""
        kernel = self.chance.choice(self.kernels[self.chance.choice(NAMES)])
        key = bundle_key("default", kernel.manifest.digest)
        path = self.publisher.folder / "objects" / key
        whole = path.read_bytes()
        path.write_bytes(_flipped(whole, self.chance))
        time.sleep(0.2)
        path.write_bytes(whole)

    def go_on(self) -> None:
        """Do one thing at random."""
        ways = (
            self.republish,
            self.revoke,
            self.evict,
            self.damage_disk,
            self.damage_redis,
            self.flush_redis,
            self.stop_redis,
            self.damage_store,
        )
        self.chance.choice(ways)()


def _flipped(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


@pytest.fixture
def ground(tmp_path, compiled):
    built = compiled("ffn_gelu")
    seed = int(os.environ.get("MORPH_SOAK_SEED", "1"))
    kernels = {
        name: [_variant(built, name, KERNELS * place + number) for number in range(KERNELS)]
        for place, name in enumerate(NAMES)
    }
    valkey = Valkey(tmp_path)
    valkey.start()
    made = Ground(Publisher(tmp_path, redis_url=valkey.url), valkey, kernels, random.Random(seed))  # noqa: S311 - the same choices every time
    for name in NAMES:
        made.publish(name)
    yield made
    valkey.stop()


def _variant(kernel: TestKernel, name: str, number: int) -> TestKernel:
    """Return another kernel of the same libraries, under another name; an older C library asks for less."""
    manifest = remade(kernel.manifest, glibc=f"2.{number + 1}")
    blueprint = Blueprint.from_bytes(kernel.blueprint.to_bytes(), name=name)
    return replace(
        kernel, blueprint=blueprint, manifest=manifest, bundle=replace(kernel.bundle, manifest=manifest.to_bytes())
    )


def soak(ground: Ground, log: Path) -> list[dict[str, object]]:
    """Let the job load for as long as things go wrong; return what it told."""
    environment = clean_environment(
        MORPH_STORE_URL=ground.publisher.store_url,
        MORPH_REDIS_URL=ground.valkey.url,
        MORPH_TRUST_FILE=str(ground.publisher.folder / "trust" / "trust.json"),
        MORPH_CACHE_DIR=str(ground.publisher.folder / "host" / "cache"),
        MORPH_DEADLINE_S=str(DEADLINE_S),
        MORPH_REFRESH_S=str(REFRESH_S),
    )
    command = [sys.executable, "-m", "tests.support.soaking_job", "1", *NAMES]
    with (
        log.open("w") as out,
        subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdin=subprocess.PIPE, stdout=out) as job,
    ):
        end = time.monotonic() + SOAK_S
        while time.monotonic() < end and job.poll() is None:
            time.sleep(0.3 * ground.chance.random())
            ground.go_on()
        job.stdin.close()
        assert job.wait(timeout=60) == 0
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_whatever_happens_loads_are_right_in_time_and_cost_no_more_in_the_end(ground, tmp_path):
    told = soak(ground, tmp_path / "told")
    sources = {load["source"] for load in told}
    assert len(told) > 5 * SOAK_S
    assert sources >= {"disk", "process"}
    assert sources & {"redis", "store"}
    assert all(load["right"] for load in told)
    late = [
        load
        for load in told
        if load["started"] > ground.revoked[load["name"]].get(load["digest"], float("inf")) + REFRESH_S + DEADLINE_S
    ]
    assert late == [], "a kernel was loaded after it was revoked"
    in_time = sum(load["seconds"] <= DEADLINE_S for load in told) / len(told)
    assert in_time >= 0.999, sorted(load["seconds"] for load in told)[-5:]
    compiled = sum(load["reason"] is None for load in told) / len(told)
    assert compiled > 0.8, {load["reason"] for load in told}
    early, end = told[len(told) // 5 : 2 * len(told) // 5], told[-len(told) // 5 :]
    loaded = _middle(end, "loaded") - _middle(early, "loaded")
    # Two descriptors and the pages of two libraries stay for every kernel that was linked, and an allocator's arenas.
    assert abs(_middle(end, "descriptors") - _middle(early, "descriptors") - 2 * loaded) <= 4
    assert abs(_middle(end, "threads") - _middle(early, "threads")) <= 2
    assert _middle(end, "rss") - _middle(early, "rss") <= 48e6 + 3e6 * loaded
    assert ground.valkey.client().dbsize() <= 4 * len(NAMES) * (KERNELS + 1)


def _middle(told: list[dict[str, object]], what: str) -> float:
    return median(load[what] for load in told)
