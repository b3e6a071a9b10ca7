"""The database writes the same RFC 8785 bytes as the one canonical writer in Python."""

import json

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from morph_kernels.canonical import canonical_bytes

# PostgreSQL's text holds no NUL and no lone surrogates; the keys of events are ASCII by rule.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=6)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXT
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))


@pytest.fixture(scope="module")
def owner(registry_database):
    with psycopg.connect(registry_database, autocommit=True) as connection:
        yield connection


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(KEYS, DOCUMENTS, max_size=5))
def test_both_write_the_same_bytes(owner, document):
    written = owner.execute("SELECT convert_to(morph.canonical_text(%s), 'UTF8')", (Jsonb(document),)).fetchone()[0]
    assert written == canonical_bytes(document)


@pytest.mark.parametrize(
    "document", [{"a": 1.5}, {"a": 2**53}, {"ä": 1}, {"a": [{"b": 0.1}]}, json.loads("[" * 40 + "]" * 40)]
)
def test_what_has_no_one_form_here_is_refused(owner, document):
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        owner.execute("SELECT morph.canonical_text(%s)", (Jsonb(document),))
