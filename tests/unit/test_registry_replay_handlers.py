"""Whatever the registry's functions append, replay can repeat."""

import re
from pathlib import Path

import morph_assets.registry
from morph_assets.registry.replay.state import ReplayedState, fold, handled_types

CURRENT = Path(morph_assets.registry.__file__).parent / "migrations" / "sql" / "current"
REGISTRY = CURRENT.parents[2]
# Refusals have a chain of their own, which changes nothing; `morph.` begins the names of settings, a
# single letter the columns of a statement that a function puts together.
EVENT_TYPE = re.compile(r"'((?!security\.|morph\.)[a-z]{2,}\.[a-z_]+)'")
OF_THE_OWNER = re.compile(r"append_event_for\(%s, '([a-z]+\.[a-z_]+)'")


def test_every_type_of_event_that_the_database_appends_has_its_handler():
    appended = {name for path in CURRENT.glob("*.sql") for name in EVENT_TYPE.findall(path.read_text())}
    appended |= {name for path in REGISTRY.glob("*.py") for name in OF_THE_OWNER.findall(path.read_text())}

    assert {"tenant.created", "timeline.started", "kernel.compiled"} <= appended
    assert appended - handled_types() == set()


def test_a_log_without_events_makes_no_rows():
    assert not fold(ReplayedState("nobody"), []).tables
