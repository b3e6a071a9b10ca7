"""Kernels leave one registry and come into another one, with their bytes, and only if two parties vouch for them."""

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from morph_assets.config import ROLES
from morph_assets.platform import Platform
from morph_assets.registry.audit.chain import verify_chain
from morph_assets.registry.import_manifest import MalformedManifestError
from morph_assets.registry.migrate import migrate
from morph_assets.registry.tenants import create_tenant
from morph_assets.usecases.import_kernels import NotImportableError
from morph_kernels.artifact.verify import Verified
from morph_kernels.canonical import canonical_bytes
from tests.support.platform import TestPlatform


@pytest.fixture
def elsewhere(made_platform: TestPlatform, tenant, fresh_database):
    """Another registry and store of the same tenant, which trusts the same keys."""
    migrate(fresh_database)
    # A login belongs to the whole server: the same passwords let it into both databases.
    create_tenant(fresh_database, tenant.name, tenant.passwords)
    database = conninfo_to_dict(fresh_database)["dbname"]
    urls = {role: make_conninfo(tenant.url(role), dbname=database) for role in ROLES}
    home = Path(tempfile.mkdtemp(prefix="morph-elsewhere-"))
    endpoints = replace(made_platform.config.endpoints, store_url=f"file://{home}/objects", database_urls=urls)
    with Platform.connect(replace(made_platform.config, endpoints=endpoints)) as platform:
        yield platform
    shutil.rmtree(home)


def exported(platform: Platform, folder: Path) -> list[bytes]:
    folder.mkdir(exist_ok=True)
    return list(platform.export_kernels(bundles=folder))


def test_a_library_comes_over_with_its_bytes_and_runs(made_platform, elsewhere, tmp_path):
    _, record = made_platform.judged()
    lines = exported(made_platform.platform, tmp_path / "bundles")

    taken = elsewhere.import_kernels(lines, bundles=tmp_path / "bundles")
    again = elsewhere.import_kernels(lines)

    assert (taken.kernels, taken.releases, taken.batches, taken.present) == (1, 1, 1, 0)
    assert (again.kernels, again.releases, again.rows, again.present) == (0, 0, 0, 1)
    found = elsewhere.find_kernel(record.digest)
    assert (found.state, found.tags, found.latency_us) == ("VALIDATED", record.tags, record.latency_us)
    assert isinstance(elsewhere.verify_kernel(record.digest), Verified)
    elsewhere.approve_kernel(record.digest, reason="the same machines")
    assert elsewhere.publish_kernel("ffn_gelu").digest == record.digest
    assert elsewhere.check_registry().differences == ()
    assert verify_chain(elsewhere.connections.registry("auditor")) is None


def changed(lines: list[bytes], **facts) -> list[bytes]:
    *before, kernel = lines
    return [*before, canonical_bytes(json.loads(kernel) | facts) + b"\n"]


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"toolchain": "another"}, "other facts than its manifest"),
        ({"bundle_digest": "0" * 64}, "not what its line says"),
        ({"bundle_key": "tenants/x/bundles/00/x"}, "belong under"),
        ({"provenance": "bm9ib2R5"}, "malformed"),
        ({"digest": "0" * 64}, "belong under"),
    ],
)
def test_a_kernel_that_is_not_what_its_line_says_is_not_taken_in(made_platform, elsewhere, tmp_path, facts, why):
    made_platform.judged()
    lines = changed(exported(made_platform.platform, tmp_path / "bundles"), **facts)
    with pytest.raises(NotImportableError, match=why):
        elsewhere.import_kernels(lines, bundles=tmp_path / "bundles")
    assert elsewhere.list_kernels() == []


def test_a_kernel_whose_bytes_are_missing_or_damaged_is_not_taken_in(made_platform, elsewhere, tmp_path):
    _, record = made_platform.judged()
    lines = exported(made_platform.platform, tmp_path / "bundles")
    with pytest.raises(NotImportableError, match="not in the store"):
        elsewhere.import_kernels(lines)
    (tmp_path / "bundles" / record.digest).write_bytes(b"something else")
    with pytest.raises(NotImportableError, match="not what its line says"):
        elsewhere.import_kernels(lines, bundles=tmp_path / "bundles")
    with pytest.raises(MalformedManifestError, match="line 4"):
        elsewhere.import_kernels([*lines, b"{}\n"], bundles=tmp_path / "bundles")
    assert elsewhere.list_kernels() == []
