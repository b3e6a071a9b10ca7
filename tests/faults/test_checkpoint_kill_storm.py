"""SIGKILL at random instants: nothing acknowledged is lost, nothing visible is torn. `make soak` kills 1,000 times."""

import os
import random

import pytest

from tests.support.kill_storm import KillStorm, Place

KILLS = int(os.environ.get("MORPH_KILLS", "100"))
REGISTRY_KILLS = max(16, KILLS // 10)
SEED = 20240501
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240 + KILLS)]


def strike(places, kills):
    """Kill so often, each run in its turn; return how many checkpoints are visible and how many were acknowledged."""
    chance = random.Random(SEED)  # noqa: S311 - instants, not secrets
    storms = [KillStorm(place, chance) for place in places]
    for number in range(kills):
        storms[number % len(storms)].kill_one()
    return sum(storm.check() for storm in storms), sum(len(storm.acknowledged) for storm in storms)


def test_nothing_acknowledged_is_lost_and_nothing_visible_is_torn(tmp_path):
    store, ledger = (tmp_path / "store").as_uri(), (tmp_path / "ledger.db").as_uri()
    visible, acknowledged = strike([Place(store, ledger, number) for number in range(max(1, KILLS // 20))], KILLS)
    assert visible >= acknowledged >= KILLS


def test_nor_when_the_registry_commits(tmp_path, tenant):
    # A dead saver's lease has to end before the next one can go on, so several runs take turns.
    url = tenant.url("trainer")
    places = [Place(tmp_path.as_uri(), url, number, lease_ttl_s=0.6) for number in range(REGISTRY_KILLS // 2)]
    visible, acknowledged = strike(places, REGISTRY_KILLS)
    assert visible >= acknowledged >= REGISTRY_KILLS
