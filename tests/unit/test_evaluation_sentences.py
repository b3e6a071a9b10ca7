"""What an evaluation's reasons say about each sentence."""

import re
from pathlib import Path

import pytest

from morph_assets.defs.kernels.checks import BROKEN, SENTENCES, plan_sentences
from morph_kernels.reasons import Reason

EVALUATION = Path(__file__).parents[2] / "morph_assets" / "evaluation"


def test_without_a_reason_every_sentence_is_true():
    assert not any(plan_sentences(()).values())


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [(sentence, reason) for sentence, against in SENTENCES.items() if against != BROKEN for reason in sorted(against)],
)
def test_a_reason_speaks_against_its_own_sentence_alone(sentence, reason):
    found = plan_sentences([f"{reason}: as measured"])

    assert found.pop(sentence) == (f"{reason}: as measured",)
    assert not any(found.values())


@pytest.mark.parametrize("reason", sorted(BROKEN))
def test_where_the_evaluation_broke_nothing_is_true(reason):
    assert all(plan_sentences([f"{reason}: no result"]).values())


def test_every_reason_that_the_evaluator_gives_speaks_against_a_sentence():
    text = "".join(path.read_text() for path in EVALUATION.glob("*.py"))
    given = {Reason[name] for name in re.findall(r"\bReason\.([A-Z_]+)\b", text)}

    # Out of its range a kernel must run eager: that is tried, and is no fault.
    given.remove(Reason.OUT_OF_RANGE)
    assert given <= frozenset().union(*SENTENCES.values())
