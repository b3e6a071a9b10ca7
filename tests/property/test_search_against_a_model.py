"""A search returns, page by page, exactly what a plain filter and sort over the same kernels return."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from morph_assets.registry.search import KernelQuery, search_kernels
from tests.support.registry import TestTenant, digest_of
from tests.support.searched import HARDWARE, SHAPES, TAGS, Facts, expected, make_facts, store_facts

BLUEPRINTS = tuple(digest_of(f"blueprint {number}") for number in range(5))


@pytest.fixture(scope="module")
def library(registry_database) -> Iterator[tuple[TestTenant, list[Facts]]]:
    """Enough kernels that a walk ends before it has seen all of them, beside another tenant's."""
    tenant = TestTenant(registry_database, f"t{uuid4().hex[:12]}")
    other = TestTenant(registry_database, f"o{uuid4().hex[:12]}")
    tenant.url("controller")
    other.url("controller")
    facts = make_facts(3000, seed=1, blueprints=BLUEPRINTS)
    store_facts(registry_database, tenant.name, facts)
    store_facts(registry_database, other.name, make_facts(500, seed=2, blueprints=BLUEPRINTS))
    yield tenant, facts
    tenant.close()
    other.close()


def tag_lists(most: int) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from((*TAGS, "nobodys")), max_size=most, unique=True).map(tuple)


def maybe(strategy: st.SearchStrategy) -> st.SearchStrategy:
    return st.none() | st.none() | strategy


@st.composite
def queries(draw: st.DrawFn) -> KernelQuery:
    hardware = draw(maybe(st.sampled_from(HARDWARE)))
    return KernelQuery(
        blueprint=draw(maybe(st.sampled_from(BLUEPRINTS))),
        required=draw(tag_lists(2)),
        preferred=draw(tag_lists(6)),
        excluded=draw(tag_lists(1)),
        max_latency_us=draw(maybe(st.sampled_from([20.0, 100.0, 300.0]))),
        max_memory_bytes=draw(maybe(st.sampled_from([5, 100, 900]))),
        max_risk=draw(maybe(st.sampled_from([0.1, 0.3]))),
        max_size_bytes=draw(maybe(st.sampled_from([5, 500]))),
        device=draw(maybe(st.sampled_from(["cpu", "cuda", "tpu"]))),
        states=draw(st.sampled_from([(), (), ("PUBLISHED",), ("COMPILED",), ("VALIDATED", "REVOKED")])),
        hardware=hardware,
        shape_class=None if hardware is None else draw(maybe(st.sampled_from([s for s in SHAPES if s]))),
    )


@given(queries(), st.integers(1, 40))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_pages_are_what_a_filter_and_a_sort_give(library, query, limit):
    tenant, facts = library
    registry = tenant.registry("controller")
    found: list[str] = []
    cursor = None
    for _ in range(4):
        page = search_kernels(registry, query, limit=limit, cursor=cursor)
        found += [hit.digest for hit in page.hits]
        cursor = page.next_cursor
        if cursor is None:
            break

    wanted = expected(facts, query)
    assert found == wanted[: 4 * limit]
    assert (cursor is None) == (len(wanted) <= 4 * limit)


def test_following_every_page_gives_every_kernel_once(library):
    tenant, facts = library
    query = KernelQuery(preferred=TAGS[:5])
    found: list[str] = []
    cursor = None
    while True:
        page = search_kernels(tenant.registry("controller"), query, limit=100, cursor=cursor)
        found += [hit.digest for hit in page.hits]
        cursor = page.next_cursor
        if cursor is None:
            break

    assert found == expected(facts, query)
    assert len(found) > 1000
