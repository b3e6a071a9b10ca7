"""Trust changes on a working platform: the signers follow at once, the indexes with them, and the log is told."""

import contextlib
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from morph_assets.platform import Platform
from morph_assets.registry.events import SECURITY, events_after
from morph_assets.usecases.anchor_log import anchor_log
from morph_assets.usecases.change_trust import TrustElsewhereError
from morph_kernels.artifact.envelope import parse_envelope
from morph_kernels.artifact.index import MAX_INDEX_BYTES
from morph_kernels.artifact.signing import generate_key, load_signer
from morph_kernels.artifact.trust import Role, TrustError, key_path, load_trust
from morph_kernels.artifact.trust_change import rotate_key
from morph_kernels.reasons import Reason
from morph_kernels.store.keys import index_prefix
from tests.integration.test_usecase_publish import DEAD_STORE

REF = "ffn_gelu@production"


@contextlib.contextmanager
def silent(_text, *, total):
    """Show progress to nobody."""
    yield lambda _count: total


@pytest.fixture
def trust(made_platform):
    return made_platform.config.folders.home / "trust"


def signing(trust, role):
    return load_signer(key_path(trust, role)).keyid


def newest_signature(made_platform):
    """Return who signed the newest index in the store."""
    store = made_platform.platform.connections.store
    keys = sorted(info.key for info in store.list_objects(index_prefix(made_platform.config.tenant, "ffn_gelu")))
    return parse_envelope(store.get(keys[-1], max_bytes=MAX_INDEX_BYTES), what="index", max_bytes=MAX_INDEX_BYTES).keyid


def assert_settled(made_platform):
    """Nothing is published for ever: the trust file tells time by the second, and after that second all is new."""
    deadline = time.monotonic() + 10
    while made_platform.platform.relay_indexes().names:
        assert time.monotonic() < deadline


def told(tenant):
    events = events_after(tenant.registry("auditor"), 0, chain=SECURITY)
    return [(event.subject, event.facts["facts"]) for event in events if event.type == "security.trust_changed"]


def test_a_rotated_publisher_signs_every_index_anew_at_once(made_platform, trust, tenant):
    made_platform.published()
    before = signing(trust, Role.PUBLISHER)
    assert newest_signature(made_platform) == before

    changed = made_platform.platform.rotate_trusted_key(Role.PUBLISHER, silent)

    assert changed.keyid == signing(trust, Role.PUBLISHER) == newest_signature(made_platform) != before
    assert (changed.old_keyid, changed.renewed, changed.told, changed.problem) == (before, ("ffn_gelu",), True, None)
    assert timedelta(days=6) < changed.old_until - datetime.now(UTC) < timedelta(days=7)
    assert_settled(made_platform)
    assert made_platform.loader().load(REF).digest is not None
    ((subject, facts),) = told(tenant)
    assert (subject, facts["change"], facts["instead_of"]) == (f"key/{changed.keyid}", "rotated", before)


def test_a_rotation_that_was_killed_before_it_published_is_ended_by_the_relay(made_platform, trust):
    made_platform.published()
    rotated = rotate_key(trust, Role.PUBLISHER)

    assert made_platform.platform.stale_indexes() == ("ffn_gelu",)
    assert made_platform.platform.relay_indexes().names == ("ffn_gelu",)
    assert newest_signature(made_platform) == rotated.keyid
    assert_settled(made_platform)


def test_while_the_store_is_down_trust_changes_and_says_what_did_not_follow(made_platform, trust):
    made_platform.published()
    with made_platform.other(store_url=DEAD_STORE) as platform:
        changed = platform.rotate_trusted_key(Role.PUBLISHER, silent)

    assert changed.keyid == signing(trust, Role.PUBLISHER)
    assert (changed.renewed, changed.told) == ((), True)
    assert changed.problem
    assert made_platform.platform.relay_indexes().names == ("ffn_gelu",)


def test_while_the_database_is_down_a_key_is_revoked_all_the_same(made_platform, trust):
    urls = dict.fromkeys(made_platform.config.endpoints.database_urls, "postgresql://nobody@127.0.0.1:9/nothing")
    revoked = signing(trust, Role.PUBLISHER)
    with made_platform.other(database_urls=urls) as platform:
        changed = platform.revoke_trusted_key(revoked, "stolen", silent)

    assert load_trust(trust / "trust.json").revoked == {revoked}
    assert (changed.told, changed.renewed) == (False, ())
    assert changed.problem


def test_a_revoked_publisher_is_followed_by_another_and_the_indexes_by_that_one(made_platform, trust, tenant):
    made_platform.published()
    revoked = signing(trust, Role.PUBLISHER)
    loader = made_platform.loader("before")
    assert loader.load(REF).digest is not None

    changed = made_platform.platform.revoke_trusted_key(revoked[:12], "laptop stolen", silent)

    assert changed.signs_now == signing(trust, Role.PUBLISHER) == newest_signature(made_platform) != revoked
    assert (changed.keyid, changed.renewed, changed.unvouched) == (revoked, ("ffn_gelu",), ())
    assert made_platform.loader("fresh").load(REF).digest is not None
    assert loader.load(REF).digest is not None
    ((subject, facts),) = told(tenant)
    assert (subject, facts["change"], facts["reason"]) == (f"key/{revoked}", "revoked", "laptop stolen")
    # Again: the same key stays revoked, and nobody is replaced.
    again = made_platform.platform.revoke_trusted_key(revoked, "laptop stolen", silent)
    assert (again.version, again.signs_now) == (changed.version, None)


@pytest.mark.parametrize("role", [Role.COMPILER, Role.EVALUATOR])
def test_a_revoked_builder_leaves_kernels_that_nobody_vouches_for_and_names_them(made_platform, trust, role):
    kernel, published = made_platform.published()

    changed = made_platform.platform.revoke_trusted_key(signing(trust, role), "broken into", silent)

    assert changed.unvouched == (published.digest,)
    assert changed.signs_now == signing(trust, role)
    module = made_platform.loader().load(kernel.blueprint)
    assert (module.source, module.reason) == ("eager", Reason.KEY_REVOKED)


def test_a_rotated_builder_leaves_every_kernel_vouched_for(made_platform, trust):
    made_platform.published()
    for role in (Role.COMPILER, Role.EVALUATOR):
        assert made_platform.platform.rotate_trusted_key(role, silent).renewed == ()
    made_platform.judged("squeeze_excite")
    made_platform.platform.publish_kernel("squeeze_excite")

    for ref in (REF, "squeeze_excite@production"):
        assert made_platform.loader().load(ref).digest is not None
    assert made_platform.platform.revoke_trusted_key(signing(trust, Role.TRAINER), "x", silent).unvouched == ()


def test_a_rotated_auditor_anchors_on(made_platform):
    made_platform.published()
    first = anchor_log(made_platform.platform.connections)

    made_platform.platform.rotate_trusted_key(Role.AUDITOR, silent)

    second = anchor_log(made_platform.platform.connections)
    assert (second.number, second.created) == (first.number + 1, True)


def test_a_key_of_another_host_is_added_and_told_of(made_platform, trust, tmp_path, tenant):
    public = generate_key(tmp_path / "trainer.pem")

    changed = made_platform.platform.add_trusted_key(Role.TRAINER, public, valid_for=timedelta(days=30))

    assert changed.keyid in {key.keyid for key in load_trust(trust / "trust.json").keys_of(Role.TRAINER)}
    ((subject, facts),) = told(tenant)
    assert (subject, facts["change"], facts["version"]) == (f"key/{changed.keyid}", "added", 2)


def test_keys_that_do_not_lie_beside_the_trust_file_are_left_alone(made_platform, trust, tmp_path):
    folders = replace(made_platform.config.folders, keys_dir=tmp_path)
    with (
        Platform.connect(replace(made_platform.config, folders=folders)) as platform,
        pytest.raises(TrustElsewhereError, match="copy the file"),
    ):
        platform.rotate_trusted_key(Role.PUBLISHER, silent)
    assert load_trust(trust / "trust.json").version == 1


@pytest.mark.parametrize("begins", ["", "zz", "0000000000", "abc"])
def test_a_key_that_is_not_named_by_enough_digits_is_not_revoked(made_platform, trust, begins):
    with pytest.raises(TrustError, match="keys begin with"):
        made_platform.platform.revoke_trusted_key(begins, "x", silent)
    assert load_trust(trust / "trust.json").version == 1
