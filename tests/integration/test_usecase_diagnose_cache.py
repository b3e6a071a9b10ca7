"""`morph doctor --cache`: a cache that works is told from one that is installed and saves nothing."""

from dataclasses import replace

import pytest

from morph_assets.usecases.advise_load import advise_load
from morph_assets.usecases.diagnose_cache import diagnose_cache
from morph_kernels.artifact.trust import Role, revoke_key
from morph_kernels.artifact.trust_change import rotate_key
from morph_kernels.reasons import Reason

REF = "ffn_gelu"
_ALL = list(Reason)


@pytest.fixture
def settings(made_platform):
    """Of a training host that knows no database."""
    made_platform.published()
    config = made_platform.config
    return replace(
        config.runtime,
        endpoints=replace(config.endpoints, database_urls={}),
        tenant=config.tenant,
        cache_dir=config.folders.home / "a host",
    )


def diagnosed(settings, *refs):
    return {finding.check: finding for finding in diagnose_cache(settings, refs)}


def test_a_cache_that_works_gives_each_kernel_from_disk_the_second_time(settings):
    found = diagnosed(settings)
    assert found.keys() == {"trusted keys", "cache folder", "tier redis", "tier store", f"kernel {REF}"}
    assert all(finding.ok for finding in found.values()), found
    assert "then from disk" in found[f"kernel {REF}"].detail


INERT = (
    ("trusted keys", lambda s: endpoints(s, trust_file=None), "MORPH_TRUST_FILE"),
    ("cache folder", lambda s: replace(s, cache_dir=s.endpoints.trust_file), "MORPH_CACHE_DIR"),
    (f"kernel {REF}", lambda s: replace(s, cache_dir=s.endpoints.trust_file), "MORPH_CACHE_DIR"),
    (f"kernel {REF}", lambda s: replace(s, disk_budget_bytes=1), "on a disk with room"),
    ("tier redis", lambda s: endpoints(s, redis_url="redis://127.0.0.1:1/0"), "the server answers"),
    ("tier store", lambda s: endpoints(s, store_url=None), "MORPH_STORE_URL"),
    ("kernels", lambda s: replace(s, tenant="stranger"), "MORPH_TENANT"),
)


def endpoints(settings, **changes):
    return replace(settings, endpoints=replace(settings.endpoints, **changes))


def test_a_trust_file_that_went_back_is_found(settings, tmp_path):
    trust = settings.endpoints.trust_file
    old = tmp_path / "old.json"
    old.write_bytes(trust.read_bytes())
    old.chmod(0o600)
    rotate_key(trust.parent, Role.TRAINER)
    assert diagnosed(settings)["trusted keys"].ok
    found = diagnosed(endpoints(settings, trust_file=old))["trusted keys"]
    assert (found.ok, found.advice) == (False, advise_load(Reason.TRUST_ROLLED_BACK))


@pytest.mark.parametrize(("check", "change", "advice"), INERT)
def test_one_that_saves_nothing_is_found_with_what_to_do(settings, check, change, advice):
    found = diagnosed(change(settings))
    assert not found[check].ok
    assert advice in found[check].advice


def test_a_revoked_publisher_is_named(settings, made_platform):
    publisher = next(key for key in made_platform.platform.trust().keys_of(Role.PUBLISHER))
    revoke_key(settings.endpoints.trust_file.parent, publisher.keyid)
    found = diagnosed(settings, REF)
    assert "publisher" in found["trusted keys"].detail
    assert not found[f"kernel {REF}"].ok


def test_a_ref_that_nobody_knows_is_named(settings):
    found = diagnosed(settings, "nobody_knows_it")
    assert not found["kernel nobody_knows_it"].ok
    assert "publish it" in found["kernel nobody_knows_it"].advice


@pytest.mark.parametrize("reason", _ALL[: _ALL.index(Reason.EVAL_MODE)])
def test_there_is_advice_for_whatever_keeps_a_kernel_from_loading(reason):
    assert advise_load(reason)
