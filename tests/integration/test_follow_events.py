"""Following the registry's log, on a real one."""

import pytest

from morph_assets.registry.events import EventCursor, latest_cursor
from morph_assets.usecases.follow_events import START, format_cursor, parse_cursor
from morph_kernels.blueprint import library

SUBMITTED = ("blueprint.submitted",)


@pytest.fixture
def submitted(made_platform):
    """A platform with three submitted blueprints."""
    for blueprint in library()[:3]:
        made_platform.platform.submit_blueprint(blueprint)
    return made_platform.platform


def names(found) -> list[str]:
    return [event.facts["name"] for event in found.events]


def test_pages_join_without_gap_or_repetition(submitted):
    first = submitted.follow_events(START, types=SUBMITTED, limit=2)
    second = submitted.follow_events(first.cursor, types=SUBMITTED, limit=2)
    third = submitted.follow_events(second.cursor, types=SUBMITTED, limit=2)

    assert names(first) + names(second) == [blueprint.name for blueprint in library()[:3]]
    assert third.events == ()


def test_when_all_is_read_the_cursor_stands_at_the_logs_head(submitted):
    found = submitted.follow_events(START, types=("no.such",))

    assert found.cursor == latest_cursor(submitted.connections.registry("platform"))


def test_a_cursor_of_an_earlier_timeline_sees_what_is_new_though_its_number_is_low(submitted):
    head = latest_cursor(submitted.connections.registry("platform"))

    found = submitted.follow_events(EventCursor(head.timeline - 1, 10_000), types=SUBMITTED)

    assert len(found.events) == 3


def test_a_cursor_ahead_of_the_log_belongs_to_another_log(submitted):
    found = submitted.follow_events(EventCursor(10_000, 10_000), types=SUBMITTED)

    assert len(found.events) == 3
    assert found.cursor == latest_cursor(submitted.connections.registry("platform"))


@pytest.mark.parametrize("text", [None, "", "x", "1", "1:", ":1", "-1:2", "1:2:3", "1:2 "])
def test_a_word_that_is_no_cursor_is_the_start(text):
    assert parse_cursor(text) == START


def test_a_cursor_survives_being_written():
    assert parse_cursor(format_cursor(EventCursor(3, 41))) == EventCursor(3, 41)
