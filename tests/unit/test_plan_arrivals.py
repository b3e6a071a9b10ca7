"""What submitted and retired blueprints mean for the set of active ones."""

import json
from datetime import UTC, datetime
from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from morph_assets.registry.events import EventRecord
from morph_assets.usecases.plan_arrivals import RETIRED, SUBMITTED, plan_arrivals

NAMES = st.sampled_from([f"blueprint_{letter}" for letter in "abcdefgh"])


def event(seq: int, kind: str, name: str, version: int = 1) -> EventRecord:
    """Return an event as the registry's log holds it."""
    facts = {"name": name, "version": version}
    if kind == SUBMITTED:
        facts |= {"blueprint_digest": f"{name}-{version}", "tags": ["mlp"], "author": "ada", "parents": []}
    payload = json.dumps(facts).encode()
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return EventRecord("default", seq, 1, uuid4(), kind, f"blueprint/{name}", 1, "ada", moment, payload, b"", b"")


def test_a_new_name_is_registered_and_told_of():
    plan = plan_arrivals([event(1, SUBMITTED, "mine")], registered=(), in_use={"mine"}, most=10)

    assert plan.register == ("mine",)
    assert [(r.name, r.version, r.digest, r.tags, r.author, r.seq) for r in plan.releases] == [
        ("mine", 1, "mine-1", ("mlp",), "ada", 1)
    ]


def test_a_new_release_of_a_known_name_is_told_of_once_as_the_newest():
    events = [event(1, SUBMITTED, "mine", 2), event(2, SUBMITTED, "mine", 3)]

    plan = plan_arrivals(events, registered={"mine"}, in_use={"mine"}, most=10)

    assert plan.register == ()
    assert [release.version for release in plan.releases] == [3]


def test_a_name_whose_last_release_is_retired_is_dropped():
    plan = plan_arrivals([event(1, RETIRED, "mine")], registered={"mine", "yours"}, in_use={"yours"}, most=10)

    assert plan.drop == ("mine",)


def test_a_name_with_another_release_in_use_stays():
    plan = plan_arrivals([event(1, RETIRED, "mine")], registered={"mine"}, in_use={"mine"}, most=10)

    assert plan.drop == ()


def test_what_has_no_room_is_refused_by_name_and_not_told_of():
    events = [event(1, SUBMITTED, "first"), event(2, SUBMITTED, "second")]

    plan = plan_arrivals(events, registered={"known"}, in_use={"known", "first", "second"}, most=2)

    assert plan.register == ("first",)
    assert plan.refused == ("second",)
    assert [release.name for release in plan.releases] == ["first"]


@given(
    happened=st.lists(st.tuples(st.sampled_from([SUBMITTED, RETIRED]), NAMES), max_size=20),
    registered=st.sets(NAMES),
    in_use=st.sets(NAMES),
    most=st.integers(0, 10),
)
def test_whatever_happened_the_plan_is_consistent(happened, registered, in_use, most):
    events = [event(seq, kind, name) for seq, (kind, name) in enumerate(happened, start=1)]

    plan = plan_arrivals(events, registered=registered, in_use=in_use, most=most)

    after = (registered - set(plan.drop)) | set(plan.register)
    assert len(after) <= max(most, len(registered))
    assert not set(plan.register) & registered
    assert set(plan.drop) <= registered - in_use
    assert {release.name for release in plan.releases} <= after & in_use
    assert not set(plan.refused) & after
    # Nothing is lost without a word: every blueprint in use that arrived is told of or refused.
    arrived = {name for kind, name in happened if kind == SUBMITTED} & in_use
    assert arrived == {release.name for release in plan.releases} | set(plan.refused)
