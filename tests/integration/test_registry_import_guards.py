"""What the tables themselves refuse around an import, whoever writes: no late rows, none without event or proof."""

from uuid import uuid4

import psycopg
import pytest

from morph_assets.registry.import_manifest import encode_batch
from morph_assets.registry.imports import import_batch
from morph_kernels.identity import ObjectKey
from tests.support.imported import imported_batch
from tests.support.registry import document_of

INSERT_RELEASE = """
    INSERT INTO morph.blueprint_release (tenant, name, version, blueprint_digest, tags, author, parents, import_id)
    SELECT tenant, name, version + 1, %s, tags, author, parents, %s FROM morph.blueprint_release WHERE tenant = %s"""
INSERT_KERNEL = """INSERT INTO morph.kernel (tenant, digest, blueprint_digest, build_key, target, toolchain, pipeline,
        recipe_version, size_bytes, bundle_digest, bundle_key, state, evaluation, import_id)
    SELECT tenant, repeat('1', 64), blueprint_digest, repeat('1', 64), target, toolchain, pipeline, recipe_version,
           size_bytes, bundle_digest, bundle_key, %s, evaluation, %s FROM morph.kernel WHERE tenant = %s LIMIT 1"""
NEW_IMPORT = """
    INSERT INTO morph.kernel_import
        (tenant, import_id, manifest_digest, manifest_key, blueprints, kernels, reports, txid)
    VALUES (%s, %s, repeat('2', 64), 'k', 0, 1, 0, pg_current_xact_id())"""


@pytest.fixture
def owned(tenant):
    """The owner's connection beside an import that is over, and its number."""
    taken = import_batch(tenant.registry("curator"), encode_batch(imported_batch(1)), ObjectKey("manifest"))
    with psycopg.connect(tenant.admin_url) as owner:
        yield owner, taken.import_id
        owner.rollback()


def refused(owner, sqlstate):
    with pytest.raises(psycopg.Error) as error:
        owner.commit()
    assert error.value.sqlstate == sqlstate


def test_nothing_joins_an_import_that_is_over(tenant, owned):
    owner, over = owned
    for statement, parameters in (
        (INSERT_KERNEL, ("COMPILED", over, tenant.name)),
        (INSERT_RELEASE, (document_of("imported")[0], over, tenant.name)),
    ):
        with pytest.raises(psycopg.Error) as error:
            owner.execute(statement, parameters)
        assert error.value.sqlstate in {"MO007", "23505"}
        owner.rollback()
    with pytest.raises(psycopg.Error) as error:
        owner.execute(INSERT_KERNEL, ("VALIDATED", over, tenant.name))
    assert error.value.sqlstate == "MO003"


def test_an_import_without_its_event_is_refused_at_commit(tenant, owned):
    owner, _ = owned
    number = uuid4()
    owner.execute(NEW_IMPORT, (tenant.name, number))
    owner.execute(INSERT_KERNEL, ("COMPILED", number, tenant.name))
    refused(owner, "MO007")


def test_an_ordinary_row_still_needs_an_event_of_its_own(tenant, owned):
    owner, _ = owned
    number = uuid4()
    owner.execute(NEW_IMPORT, (tenant.name, number))
    owner.execute(INSERT_KERNEL, ("COMPILED", None, tenant.name))
    owner.execute("SELECT morph.append_event_for(%s, 'kernels.imported', %s, '{}')", (tenant.name, f"import/{number}"))
    refused(owner, "MO007")


def test_an_imported_kernel_is_validated_only_with_its_evidence(tenant, owned):
    owner, _ = owned
    number = uuid4()
    owner.execute(NEW_IMPORT, (tenant.name, number))
    with pytest.raises(psycopg.Error, match="without a passing report") as error:
        owner.execute(INSERT_KERNEL, ("VALIDATED", number, tenant.name))
    assert error.value.sqlstate == "MO003"


def test_a_kernel_never_changes_its_import(tenant, owned):
    owner, _ = owned
    with pytest.raises(psycopg.Error) as error:
        owner.execute("UPDATE morph.kernel SET import_id = NULL WHERE tenant = %s", (tenant.name,))
    assert error.value.sqlstate == "MO009"


def test_a_change_of_an_imported_kernel_has_its_own_event(tenant, owned):
    owner, _ = owned
    owner.execute("UPDATE morph.kernel SET state_reason = 'x' WHERE tenant = %s", (tenant.name,))
    refused(owner, "MO007")
