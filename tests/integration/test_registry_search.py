"""Searches: reasons, lineage, cursors, and what another tenant or a raw connection gets of them."""

import json
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from morph_assets.registry.blueprints import submit_blueprint
from morph_assets.registry.errors import InvalidRecordError, NotAMemberError
from morph_assets.registry.evaluations import Measurement, record_report, start_evaluation
from morph_assets.registry.kernels import find_kernel
from morph_assets.registry.migrate import ROLES
from morph_assets.registry.search import KernelQuery, search_kernels
from tests.support.registry import document_of, report_on
from tests.support.searched import expected, make_facts, store_facts

SEARCH = "SELECT digest FROM morph.search_kernels(%s, %s, %s)"


def found(tenant, query=KernelQuery(), role="controller", **page):  # noqa: B008 - frozen
    return [hit.digest for hit in search_kernels(tenant.registry(role), query, **page).hits]


def test_each_place_has_its_reason(tenant):
    evaluator = tenant.registry("evaluator")
    facts = {
        "best": (("mlp", "fast"), 80.0, 0.5),
        "quick": (("mlp",), 10.0, 0.5),
        "slow": (("mlp",), 20.0, 0.1),
        "risky": (("mlp",), 20.0, 0.2),
        "tied": (("mlp",), 20.0, 0.2),
    }
    for name, (tags, latency_us, risk) in facts.items():
        kernel = tenant.built(name)
        start_evaluation(evaluator, kernel.digest)
        measured = (Measurement("latency_us", latency_us, "us", hardware="amd-epyc"), Measurement("risk", risk, "1"))
        record_report(evaluator, report_on(kernel.digest, tags=tags, measurements=measured, attestation=name.encode()))

    hits = search_kernels(tenant.registry("controller"), KernelQuery(preferred=("fast", "tiny"))).hits

    assert [hit.reason.decided_by for hit in hits] == ["first", "preferred", "latency", "risk", "digest"]
    assert [(hit.reason.matched, hit.reason.missed) for hit in hits[:2]] == [
        (("fast",), ("tiny",)),
        ((), ("fast", "tiny")),
    ]
    assert str(hits[0].reason) == "1 of 2 preferred tags (fast), 80 us on amd-epyc, risk 0.50"
    assert str(hits[2].reason).endswith("20 us on amd-epyc, risk 0.10; behind the one before by its latency")
    second = search_kernels(tenant.registry("controller"), KernelQuery(preferred=("fast", "tiny")), limit=2)
    rest = search_kernels(
        tenant.registry("controller"), KernelQuery(preferred=("tiny", "fast")), cursor=second.next_cursor
    )
    assert rest.hits == hits[2:]


def test_a_kernel_carries_what_its_newest_passing_report_says(tenant):
    kernel = tenant.evaluated()
    evaluator = tenant.registry("evaluator")
    numbers = (
        Measurement("latency_us", 40.0, "us", hardware="amd-epyc"),
        Measurement("step_us", 30.0, "us", shape_class="batch=8/threads=1", hardware="amd-epyc"),
        Measurement("risk", 0.25, "1"),
    )
    record_report(evaluator, report_on(kernel.digest, measurements=numbers, tags=("b", "a", "b"), attestation=b"2"))
    record_report(evaluator, report_on(kernel.digest, "fail", measurements=(), tags=("wrong",)))

    seen = find_kernel(tenant.registry("platform"), digest=kernel.digest)

    assert (seen.tags, seen.risk, seen.latency_us) == (["a", "b"], 0.25, 40.0)
    assert found(tenant, KernelQuery(hardware="amd-epyc")) == [kernel.digest]
    at_eight = KernelQuery(hardware="amd-epyc", shape_class="batch=8/threads=1", max_latency_us=30.0)
    (hit,) = search_kernels(tenant.registry("trainer"), at_eight).hits
    assert (hit.reason.latency_us, hit.reason.hardware, hit.reason.shape_class) == (
        30.0,
        "amd-epyc",
        "batch=8/threads=1",
    )
    assert found(tenant, replace(at_eight, max_latency_us=29.0)) == []
    assert found(tenant, KernelQuery(hardware="intel-xeon")) == []


def test_offspring_are_found_at_any_distance_and_not_the_ancestor(tenant):
    registry = tenant.registry("platform")
    parents: tuple = ()
    kernels = []
    for generation in range(4):
        digest, document = document_of(f"generation {generation}")
        submit_blueprint(registry, f"generation{generation}", digest, document, parents=parents)
        kernels.append(
            tenant.evaluated(f"k{generation}", name=f"generation{generation}", blueprint=f"generation {generation}")
        )
        parents = (digest,)

    assert set(found(tenant, KernelQuery(descends_from="generation1"))) == {k.digest for k in kernels[2:]}
    assert set(found(tenant, KernelQuery(descends_from=kernels[0].blueprint_digest))) == {k.digest for k in kernels[1:]}
    assert found(tenant, KernelQuery(blueprint="generation2")) == [kernels[2].digest]
    assert found(tenant, KernelQuery(blueprint="nobodys")) == []
    assert found(tenant, KernelQuery(descends_from="generation3")) == []


def test_only_what_is_validated_is_found_unless_asked_for(tenant):
    compiled, validated = tenant.built("compiled"), tenant.evaluated("validated")
    published, rejected = tenant.published("published"), tenant.evaluated("rejected", verdict="fail")

    assert set(found(tenant)) == {validated.digest, published.digest}
    assert found(tenant, KernelQuery(states=("REJECTED",))) == [rejected.digest]
    assert set(found(tenant, KernelQuery(states=("COMPILED", "VALIDATED")))) == {compiled.digest, validated.digest}


@pytest.mark.parametrize("role", ROLES)
def test_every_login_may_search_and_sees_its_own_tenant_only(tenant, other_tenant, role):
    mine, theirs = tenant.published(), other_tenant.published("theirs")

    assert found(tenant, role=role) == [mine.digest]
    for query in ({"blueprint": theirs.blueprint_digest}, {"required": ["mlp"]}, {"preferred": ["mlp"]}, {}):
        rows = tenant.connect(role).execute(SEARCH, (Jsonb(query), 100, None)).fetchall()
        assert (theirs.digest,) not in rows


@pytest.mark.parametrize("tampering", ["other tenant's", "other query's", "truncated", "changed", "huge", "rubbish"])
def test_a_cursor_that_is_not_this_searchs_is_refused(tenant, other_tenant, tampering):
    tenant.published("a")
    tenant.published("b")
    other_tenant.published("c")
    other_tenant.published("d")
    query = KernelQuery(required=("mlp",))
    cursor = search_kernels(tenant.registry("controller"), query, limit=1).next_cursor
    foreign = search_kernels(other_tenant.registry("controller"), query, limit=1).next_cursor
    given = {
        "other tenant's": foreign,
        "other query's": search_kernels(tenant.registry("controller"), KernelQuery(), limit=1).next_cursor,
        "truncated": cursor[:-8],
        "changed": cursor[:4] + ("a" if cursor[4] != "a" else "b") + cursor[5:],
        "huge": cursor * 10,
        "rubbish": "%%%",
    }[tampering]

    assert found(tenant, query, cursor=cursor) != found(tenant, query, limit=1)
    with pytest.raises(InvalidRecordError, match="begin again"):
        search_kernels(tenant.registry("controller"), query, cursor=given)


def test_a_forged_cursor_of_the_right_form_moves_the_place_and_nothing_else(tenant, other_tenant):
    facts = make_facts(300, seed=3, blueprints=["a" * 64])
    store_facts(tenant.admin_url, tenant.name, facts)
    secret = make_facts(50, seed=4, blueprints=["a" * 64])
    other_tenant.url("controller")
    store_facts(other_tenant.admin_url, other_tenant.name, secret)
    query = KernelQuery(preferred=("tag0", "tag1"))
    cursor = search_kernels(tenant.registry("controller"), query, limit=1).next_cursor
    bound, *_ = json.loads(bytes.fromhex(cursor))
    own = set(expected(facts, query))
    for matched, latency, risk in ((2, "-Infinity", "0"), (1, "0", "0"), (0, "NaN", "NaN"), (2, "Infinity", "1")):
        forged = json.dumps([bound, matched, latency, risk, "0" * 64]).encode()
        token = forged.hex()
        rows = tenant.connect("trainer").execute(SEARCH, (Jsonb(query.to_document()), 1000, token)).fetchall()
        assert {digest for (digest,) in rows} <= own
    for place in (
        [bound, 3, "1", "1", "0" * 64],
        [bound, -1, "1", "1", "0" * 64],
        [bound, 1, "1", "1", "' OR true --"],
        [],
    ):
        token = json.dumps(place).encode().hex()
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="begin again"):
            tenant.connect("trainer").execute(SEARCH, (Jsonb(query.to_document()), 10, token))


@pytest.mark.parametrize(
    "query",
    [
        [],
        "x",
        {"tenant": "default"},
        {"required": "mlp"},
        {"required": ["it's"]},
        {"preferred": [f"tag{n}" for n in range(9)]},
        {"excluded": [f"tag{n}" for n in range(17)]},
        {"max_latency_us": "1; DROP TABLE morph.kernel"},
        {"max_risk": {}},
        {"shape_class": "batch=8"},
        {"blueprint": "x" * 20_000},
    ],
)
def test_what_is_no_query_is_refused_by_the_database_too(tenant, query):
    with pytest.raises(psycopg.DataError):
        tenant.connect("controller").execute(SEARCH, (Jsonb(query), 10, None))


@pytest.mark.parametrize("word", ["device", "isa", "dtype", "blueprint", "descends_from", "hardware"])
def test_a_word_of_a_query_is_never_sql(tenant, word):
    tenant.published()
    rows = tenant.connect("controller").execute(SEARCH, (Jsonb({word: "' OR true OR '' = '"}), 10, None)).fetchall()
    assert rows == []


@pytest.mark.parametrize("limit", [0, 1002, None])
def test_a_page_has_its_bounds(tenant, limit):
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        tenant.connect("controller").execute(SEARCH, (Jsonb({}), limit, None))


def test_nobody_else_may_search(tenant, registry_database):
    tenant.published()
    with psycopg.connect(registry_database) as owner:
        owner.execute("UPDATE morph.tenant SET state = 'suspended' WHERE tenant = %s", (tenant.name,))
    with pytest.raises(NotAMemberError):
        found(tenant)


def test_a_query_comes_back_from_its_document():
    query = KernelQuery(
        blueprint="ffn", required=("b", "a"), preferred=("x",), max_latency_us=5.0, hardware="h", shape_class="s"
    )
    document = json.loads(json.dumps(query.to_document()))
    assert KernelQuery.from_document(document) == replace(query, required=("a", "b"))
    assert KernelQuery.from_document({}) == KernelQuery()


@pytest.mark.parametrize(
    "document",
    [
        {"nothing": 1},
        {"required": "abc"},
        {"required": [1]},
        {"preferred": ["t"] * 9},
        {"max_risk": "0.5"},
        {"max_risk": True},
        {"max_latency_us": float("nan")},
        {"max_size_bytes": -1},
        {"device": ""},
        {"shape_class": "s"},
    ],
)
def test_a_document_that_is_no_query_is_refused(document):
    with pytest.raises(InvalidRecordError):
        KernelQuery.from_document(document)


def test_a_retry_of_a_report_changes_no_tag(tenant):
    kernel = tenant.built()
    start_evaluation(tenant.registry("evaluator"), kernel.digest)
    report = report_on(kernel.digest, report_id=uuid4())
    assert [record_report(tenant.registry("evaluator"), report) for _ in range(2)] == ["VALIDATED", "VALIDATED"]
    assert find_kernel(tenant.registry("platform"), digest=kernel.digest).tags == ["fast", "mlp"]
