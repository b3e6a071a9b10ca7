"""A log from its segments: whole, across timelines, and never with a hole."""

import pytest

from morph_assets.registry.audit.assembly import ArchiveBrokenError, assemble_log
from morph_assets.registry.audit.row import GENESIS, EventRow, expected_hash


def event(seq, before=None, *, timeline=1, kind="run.opened"):
    previous = GENESIS if before is None else before.hash
    row = EventRow("t", seq, timeline, f"id-{seq}", kind, "run/a", 2, "login", 7, None, None, b"{}", previous, b"")
    return row._replace(hash=expected_hash(row))


def chain(first, last, before=None, **facts):
    rows = []
    for seq in range(first, last + 1):
        before = event(seq, before, **facts)
        rows.append(before)
    return rows


def test_segments_become_one_log():
    first = chain(1, 3)
    second = chain(4, 5, first[-1])
    assert assemble_log([first, second]) == first + second


def test_a_later_timeline_takes_the_place_of_what_was_given_up():
    kept = chain(1, 4)
    given_up = chain(5, 9, kept[-1])
    later = chain(5, 6, kept[-1], timeline=2)
    assert assemble_log([kept, given_up, later]) == kept + later


@pytest.mark.parametrize("missing", [0, 2, 4])
def test_an_event_that_is_missing_is_named(missing):
    rows = chain(1, 6)
    with pytest.raises(ArchiveBrokenError, match=rf"event {missing + 1}: restore"):
        assemble_log([rows[:missing], rows[missing + 1 :]] if missing else [rows[1:]])


def test_a_changed_event_is_named():
    rows = chain(1, 4)
    rows[2] = rows[2]._replace(actor="eve")
    with pytest.raises(ArchiveBrokenError, match=r"event 3: restore"):
        assemble_log([rows])


def test_a_later_timeline_that_does_not_fit_is_refused():
    kept = chain(1, 4)
    with pytest.raises(ArchiveBrokenError, match=r"event 5: restore"):
        assemble_log([kept, chain(5, 6, kept[2], timeline=2)])


def test_nothing_archived_is_an_empty_log():
    assert assemble_log([]) == []
