from dataclasses import replace

import pytest

from morph_kernels.checkpoint import EAGER, BodyRecord
from morph_kernels.checkpoint.journal import JournalError, append_record, bodies_of

EAGER_AT_0 = BodyRecord(0, "block.slot", EAGER, 2, "x86-64-v3", "2.13.0")
COMPILED_AT_2 = replace(EAGER_AT_0, boundary=2, body="a" * 64)


def test_a_swap_is_one_record_and_the_newest_one_counts():
    journal = append_record(append_record((), EAGER_AT_0), COMPILED_AT_2)
    assert bodies_of(journal)["block.slot"] == COMPILED_AT_2
    assert bodies_of(journal, boundary=1)["block.slot"] == EAGER_AT_0


def test_a_boundary_without_a_change_adds_nothing():
    journal = append_record((), EAGER_AT_0)
    assert append_record(journal, replace(EAGER_AT_0, boundary=1)) == journal
    assert len(append_record(journal, replace(EAGER_AT_0, boundary=1, threads=3))) == 2


def test_a_journal_never_goes_back():
    with pytest.raises(JournalError, match="boundary 1 comes after boundary 2"):
        append_record((COMPILED_AT_2,), replace(EAGER_AT_0, boundary=1))


def test_records_travel_as_documents_and_others_are_refused():
    document = COMPILED_AT_2.to_document()
    assert BodyRecord.from_document(document) == COMPILED_AT_2
    for wrong in (document | {"extra": 1}, document | {"threads": "2"}, {"slot": "x"}):
        with pytest.raises(JournalError):
            BodyRecord.from_document(wrong)
