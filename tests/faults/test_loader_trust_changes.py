"""Keys come and go while hosts hold older trust files and older indexes: what each of them believes."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from morph_kernels.artifact.signing import load_signer
from morph_kernels.artifact.trust import Role, create_trust, key_path, load_trust, revoke_key
from morph_kernels.artifact.trust_change import rotate_key
from morph_kernels.reasons import Reason
from tests.support.hostile_host import NAME, REF, assert_works, join_background
from tests.support.publishing import Publisher

OFTEN = 1e-6


@pytest.fixture
def kernel(compiled):
    return compiled(NAME)


@pytest.fixture
def trust(host):
    return host.publisher.folder / "trust"


def copied(host, trust, name):
    """Return what another host's loader takes: a copy of the trust file as it is now."""
    path = host.publisher.folder / f"{name}.json"
    shutil.copy(trust / "trust.json", path)
    endpoints = host.publisher.settings().endpoints
    return {"endpoints": type(endpoints)(**{**vars(endpoints), "trust_file": path})}


def replace_index(host, kernel):
    """Publish a next index, by whatever key signs now."""
    return host.publisher.publish_index(kernel, [host.publisher.variant(kernel)])


def test_a_trust_file_that_goes_back_does_not_bring_a_revoked_key_back(host, kernel, trust):
    host.publisher.publish(kernel)
    before = (trust / "trust.json").read_bytes()
    revoke_key(trust, host.publisher.signer(Role.COMPILER).keyid)
    assert host.publisher.loader().load(REF).reason is Reason.KEY_REVOKED
    (trust / "trust.json").write_bytes(before)
    loader = host.publisher.loader()
    module = loader.load(REF)
    assert (module.source, module.reason) == ("eager", Reason.KEY_REVOKED)
    assert loader.stats()["refused"]["trust:trust_rolled_back"] == 1
    assert_works(module)
    # A host that never saw the later one cannot know.
    assert host.publisher.loader("fresh").load(REF).source == "store"


def test_a_trust_file_that_goes_back_under_a_running_job_is_refused_there_too(host, kernel, trust):
    host.publisher.publish(kernel)
    before = (trust / "trust.json").read_bytes()
    revoke_key(trust, host.publisher.signer(Role.COMPILER).keyid)
    loader = host.publisher.loader(refresh_s=OFTEN)
    (trust / "trust.json").write_bytes(before)
    assert loader.load(REF).reason is Reason.KEY_REVOKED
    assert loader.stats()["refused"]["trust:trust_rolled_back"] == 1


def test_a_job_that_runs_learns_of_a_revoked_key(host, kernel, trust):
    host.publisher.publish(kernel)
    loader = host.publisher.loader(refresh_s=OFTEN)
    assert loader.load(REF).source == "store"
    revoke_key(trust, host.publisher.signer(Role.EVALUATOR).keyid)
    module = loader.load(REF)
    assert (module.source, module.reason) == ("eager", Reason.KEY_REVOKED)


def test_a_job_that_runs_follows_a_rotated_publisher(host, kernel, trust):
    host.publisher.publish(kernel)
    loader = host.publisher.loader(refresh_s=OFTEN)
    assert loader.load(REF).digest is not None
    rotate_key(trust, Role.PUBLISHER)
    host.publisher.publish_index(kernel, [host.publisher.variant(kernel)], revoked=frozenset({kernel.manifest.digest}))
    for _ in range(100):
        loader.at_boundary()
        join_background()
        if loader.load(REF).reason is Reason.REVOKED:
            return
    pytest.fail("the index under the new key was never believed")


@pytest.mark.parametrize("damage", [b"", b"{}", b"torn"])
def test_a_trust_file_torn_under_a_running_job_changes_nothing_for_it(host, kernel, trust, damage):
    host.publisher.publish(kernel)
    loader = host.publisher.loader(refresh_s=OFTEN)
    (trust / "trust.json").write_bytes(damage)
    assert loader.load(REF).source == "store"
    assert loader.stats()["refused"]["trust:no_trust"] == 1


def test_a_damaged_memory_of_the_latest_version_is_written_anew(host, kernel, trust):
    host.publisher.publish(kernel)
    host.publisher.loader()
    (kept,) = (host.folder().path / "trust").iterdir()
    kept.write_bytes(b"junk")
    loader = host.publisher.loader()
    assert loader.load(REF).source == "store"
    assert loader.stats()["refused"] == {"trust:malformed": 2}
    assert kept.read_bytes() == (trust / "trust.json").read_bytes()


def test_another_roots_file_does_not_take_the_place_of_what_was_seen_of_ours(host, kernel, trust, tmp_path):
    host.publisher.publish(kernel)
    revoke_key(trust, host.publisher.signer(Role.COMPILER).keyid)
    assert host.publisher.loader().load(REF).reason is Reason.KEY_REVOKED
    ours = (trust / "trust.json").read_bytes()
    create_trust(tmp_path / "foreign")
    shutil.copy(tmp_path / "foreign" / "trust.json", trust / "trust.json")
    assert host.publisher.loader().load(kernel.blueprint).reason is Reason.UNTRUSTED_KEY
    (trust / "trust.json").write_bytes(ours)
    assert host.publisher.loader().load(REF).reason is Reason.KEY_REVOKED
    assert len(list((host.folder().path / "trust").iterdir())) == 2


def test_within_the_overlap_an_old_host_goes_on_and_a_new_one_follows(host, kernel, trust):
    host.publisher.publish(kernel)
    old = copied(host, trust, "old")
    assert host.publisher.loader("old", **old).load(REF).digest is not None
    rotate_key(trust, Role.PUBLISHER)
    # The index under the old key, for who has the new trust file: as good as before.
    assert host.publisher.loader("early").load(REF).digest is not None
    replace_index(host, kernel)
    loader = host.publisher.loader("old", **old, refresh_s=OFTEN)
    module = loader.load(REF)
    join_background()
    assert module.digest is not None
    assert loader.stats()["refused"][Reason.UNTRUSTED_KEY] >= 1
    assert host.publisher.loader("fresh").load(REF).digest is not None
    # It copies the trust file again, and needs nothing else.
    shutil.copy(trust / "trust.json", old["endpoints"].trust_file)
    follows = host.publisher.loader("old", **old, refresh_s=OFTEN)
    follows.load(REF)
    join_background()
    assert follows.load(REF).digest is not None
    assert host.index("old").highest_generation(NAME) == host.publisher.generation
    assert Reason.UNTRUSTED_KEY not in follows.stats()["refused"]


def test_after_the_overlap_the_old_key_says_nothing_to_who_knows_of_the_new_one(host, kernel, trust):
    host.publisher.publish(kernel)
    old = copied(host, trust, "old")
    assert host.publisher.loader("old", **old).load(REF).digest is not None
    rotate_key(trust, Role.PUBLISHER, now=datetime.now(UTC) - timedelta(days=8))
    # Who replays the index of the old key reaches neither a host that saw it nor a fresh one.
    for name in ("old", "fresh"):
        module = host.publisher.loader(name).load(kernel.blueprint)
        assert (module.source, module.reason) == ("eager", Reason.KEY_EXPIRED)
    replace_index(host, kernel)
    for name in ("old", "fresh"):
        assert host.publisher.loader(name, refresh_s=OFTEN).load(REF).digest is not None
    # Who never copied it again goes on by the index that it has, until that expires.
    late = Publisher(host.publisher.folder, store_url=host.publisher.store_url)
    assert late.loader("late", **old).load(REF).digest is not None


def test_a_fresh_host_with_an_old_trust_file_takes_nothing_by_the_new_key(host, kernel, trust):
    host.publisher.publish(kernel)
    old = copied(host, trust, "old")
    rotate_key(trust, Role.PUBLISHER)
    for info in list(host.publisher.store.list_objects("tenants/default/index")):
        host.publisher.store.delete(info.key)
    replace_index(host, kernel)
    module = host.publisher.loader("old", **old).load(kernel.blueprint)
    assert (module.source, module.reason) == ("eager", Reason.UNTRUSTED_KEY)


def test_an_index_of_a_stolen_key_far_ahead_is_forgotten_once_the_key_is_revoked(host, kernel, trust):
    host.publisher.publish(kernel)
    thief = load_signer(key_path(trust, Role.PUBLISHER))
    far = 2**52
    host.publisher.publish_index(kernel, [host.publisher.variant(kernel)], generation=far, signer=thief)
    assert host.publisher.loader().load(REF).digest is not None
    assert host.index().highest_generation(NAME) == far
    rotate_key(trust, Role.PUBLISHER)
    revoke_key(trust, thief.keyid)
    host.publisher.publish_index(kernel, [host.publisher.variant(kernel)], generation=2)
    loader = host.publisher.loader()
    module = loader.load(REF)
    assert module.digest == kernel.manifest.digest
    assert host.index().highest_generation(NAME) == 2
    assert loader.stats()["refused"]["disk:key_revoked"] == 1


def test_the_latest_version_is_remembered_in_a_folder_of_this_user_alone(host, trust):
    host.publisher.loader()
    root = load_trust(trust / "trust.json").root_public_hex
    kept = host.folder().path / "trust" / f"{root}.json"
    assert kept.read_bytes() == (trust / "trust.json").read_bytes()
    assert (kept.stat().st_mode & 0o777, kept.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    kept.parent.chmod(0o777)
    loader = host.publisher.loader()
    assert loader.stats()["refused"] == {"trust:disk_unusable": 2}
    kept.parent.chmod(0o700)
