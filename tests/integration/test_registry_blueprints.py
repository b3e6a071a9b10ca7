"""Blueprints and their releases, over the logins that may submit them."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from morph_assets.registry.aliases import move_alias
from morph_assets.registry.blueprints import (
    find_blueprint_document,
    find_release,
    list_blueprints,
    list_releases,
    retire_release,
    submit_blueprint,
)
from morph_assets.registry.connection import Registry
from morph_assets.registry.errors import (
    GuardError,
    InvalidRecordError,
    NotRegisteredError,
    QuotaExceededError,
)
from morph_assets.registry.events import events_about
from morph_assets.registry.lineage import trace_lineage
from morph_assets.registry.tenants import set_quota
from tests.support.registry import digest_of, document_of


def test_a_blueprint_submitted_twice_is_one_release_and_one_event(tenant):
    first, second = tenant.submitted(), tenant.submitted()
    assert (first.version, first.created) == (1, True)
    assert (second.version, second.created) == (1, False)
    assert [event.type for event in events_about(tenant.registry("platform"), "blueprint/ffn_gelu")] == [
        "blueprint.submitted"
    ]


def test_another_digest_under_the_name_is_the_next_version(tenant):
    versions = [tenant.submitted(text=text).version for text in ("a", "b", "a", "c")]
    assert versions == [1, 2, 1, 3]
    (newest,) = list_blueprints(tenant.registry("controller"))
    assert (newest.name, newest.version, newest.blueprint_digest) == ("ffn_gelu", 3, document_of("c")[0])


def test_versions_submitted_at_once_have_no_gaps(tenant):
    tenant.submitted(text="before")
    url = tenant.url("platform")

    def submit(number):
        with Registry.open(url) as registry:
            return submit_blueprint(registry, "ffn_gelu", *document_of(f"{number}")).version

    with ThreadPoolExecutor(6) as pool:
        versions = sorted(pool.map(submit, range(12)))
    assert versions == list(range(2, 14))


def test_a_digest_that_is_not_the_documents_is_refused(tenant):
    with pytest.raises(InvalidRecordError, match="document_has_its_digest"):
        submit_blueprint(tenant.registry("platform"), "ffn_gelu", digest_of("other"), document_of("a")[1])
    assert list_releases(tenant.registry("platform")) == []


@pytest.mark.parametrize("name", ["a|b", "", "Upper", "x" * 64, "-dash", "a/b", "line\nfeed"])
def test_a_name_that_cannot_be_a_partition_key_is_refused(tenant, name):
    with pytest.raises(InvalidRecordError):
        submit_blueprint(tenant.registry("platform"), name, *document_of("a"))
    assert list_releases(tenant.registry("platform")) == []


def test_a_bad_tag_or_an_unknown_parent_leaves_nothing_behind(tenant):
    registry = tenant.registry("platform")
    with pytest.raises(InvalidRecordError):
        submit_blueprint(registry, "ffn_gelu", *document_of("a"), tags=["no spaces"])
    with pytest.raises(NotRegisteredError, match="parent"):
        submit_blueprint(registry, "ffn_gelu", *document_of("a"), parents=[document_of("nobody")[0]])
    assert list_releases(registry) == []
    assert find_blueprint_document(registry, document_of("a")[0]) is None


def test_a_parent_stands_in_the_lineage(tenant):
    parent = tenant.submitted()
    child, document = document_of("child")
    submit_blueprint(tenant.registry("platform"), "ffn_child", child, document, parents=[parent.blueprint_digest])
    (edge,) = trace_lineage(tenant.registry("controller"), f"blueprint/{child}", direction="up")
    assert (edge.relation, edge.target) == ("derived_from", f"blueprint/{parent.blueprint_digest}")


def test_the_document_comes_back_byte_for_byte(tenant):
    tenant.submitted()
    digest, document = document_of("blueprint")
    assert find_blueprint_document(tenant.registry("compiler"), digest) == document


def test_a_release_is_found_by_version_by_alias_and_as_the_newest(tenant):
    tenant.published()
    tenant.submitted(text="newer")
    registry = tenant.registry("platform")
    move_alias(tenant.registry("publisher"), "ffn_gelu", "production", 1, expected_row_version=None)
    assert find_release(registry, "ffn_gelu", version=1).state == "PUBLISHED"
    assert find_release(registry, "ffn_gelu", alias="production").version == 1
    assert find_release(registry, "ffn_gelu").version == 2
    assert find_release(registry, "ffn_gelu", alias="staging") is None
    assert find_release(registry, "nobody") is None


def test_a_release_behind_an_alias_cannot_be_retired(tenant):
    tenant.published()
    move_alias(tenant.registry("publisher"), "ffn_gelu", "production", 1, expected_row_version=None)
    with pytest.raises(GuardError, match="unaliased"):
        retire_release(tenant.registry("curator"), "ffn_gelu", 1, reason="old")


def test_the_quota_of_blueprints_is_hard(tenant, registry_database):
    tenant.submitted("first")
    set_quota(registry_database, tenant.name, "blueprints", 2)
    tenant.submitted("second")
    with pytest.raises(QuotaExceededError, match="blueprints"):
        tenant.submitted("third")
    assert [release.name for release in list_releases(tenant.registry("platform"))] == ["first", "second"]
