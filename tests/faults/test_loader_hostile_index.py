"""Damaged and hostile indexes in every tier: never believed, named, and never in the way of a good one."""

from dataclasses import replace
from datetime import timedelta

import pytest

from morph_kernels.artifact.document import MalformedError
from morph_kernels.artifact.trust import Role, revoke_key
from morph_kernels.loader import BlueprintUnreachableError, RunPlan
from morph_kernels.reasons import Reason
from morph_kernels.store.keys import index_key, index_prefix
from tests.support.hostile_host import NAME, REF, TIERS, assert_works, join_background
from tests.support.publishing import Publisher


@pytest.fixture
def kernel(compiled):
    return compiled(NAME)


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Publisher(tmp_path_factory.mktemp("stranger"))


def flip(data, place):
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def unsigned(envelope):
    head, _, _ = envelope.partition(b'"signatures":')
    return head + b'"signatures":[]}'


def by_compiler(publisher):
    thief = publisher.signer(Role.COMPILER)
    thief.role = Role.PUBLISHER
    return thief


# From (host, trapped kernel, its variant, a stranger) to the envelope that somebody puts there, and why it is refused.
INDEXES = {
    "a flipped bit": (lambda h, k, v, _s: flip(h.publisher.publish_index(k, [v]), 4000), Reason.BAD_SIGNATURE),
    "a torn file": (lambda h, k, v, _s: h.publisher.publish_index(k, [v])[:3000], Reason.MALFORMED),
    "no JSON": (lambda _h, _k, _v, _s: b"\x00" * 500, Reason.MALFORMED),
    "nobody's signature": (lambda h, k, v, _s: unsigned(h.publisher.publish_index(k, [v])), Reason.UNSIGNED),
    "a stranger's signature": (
        lambda h, k, v, s: h.publisher.publish_index(k, [v], signer=s.signer(Role.PUBLISHER)),
        Reason.UNTRUSTED_KEY,
    ),
    "the compiler's signature": (
        lambda h, k, v, _s: h.publisher.publish_index(k, [v], signer=by_compiler(h.publisher)),
        Reason.WRONG_ROLE,
    ),
    "another blueprint's index": (
        lambda h, k, v, _s: h.publisher.publish_index(k, [v], name="others"),
        Reason.ATTESTATION_MISMATCH,
    ),
    "another tenant's index": (
        lambda h, k, v, _s: h.publisher.publish_index(k, [v], tenant="others"),
        Reason.WRONG_TENANT,
    ),
}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("index", INDEXES)
def test_an_index_that_the_publisher_did_not_sign_is_not_believed(host, kernel, stranger, tier, index):
    make, reason = INDEXES[index]
    trapped = host.trap.kernel(kernel)
    envelope = make(host, trapped, host.publisher.variant(trapped), stranger)
    host.plant_index(tier, NAME, envelope, generation=1)
    host.plant_bundle("store", trapped.manifest, trapped.bundle)
    loader = host.publisher.loader()
    with pytest.raises(BlueprintUnreachableError, match=REF):
        loader.load(REF)
    module = loader.load(kernel.blueprint)
    assert module.source == "eager"
    # Damage on this host's own disk counts there; then nobody else has an index.
    assert module.reason == (Reason.NO_INDEX if tier == "disk" else reason)
    refused = loader.stats()["refused"]
    assert refused[f"disk:{reason}" if tier == "disk" else reason] >= 1
    assert_works(module)
    assert not host.trap.was_sprung


@pytest.mark.parametrize("tier", TIERS)
def test_by_an_expired_index_nothing_new_is_loaded(host, kernel, tier):
    trapped = host.trap.kernel(kernel)
    variant = host.publisher.variant(trapped)
    envelope = host.publisher.publish_index(trapped, [variant], expires_in=timedelta(seconds=-1))
    host.plant_index(tier, NAME, envelope, generation=1)
    host.plant_bundle("store", trapped.manifest, trapped.bundle)
    loader = host.publisher.loader()
    for module in (loader.load(REF), loader.load(kernel.blueprint)):
        assert (module.source, module.reason) == ("eager", Reason.INDEX_EXPIRED)
        assert_works(module)
    assert loader.stats()["loads"] == {"eager:index_expired": 2}
    assert not host.trap.was_sprung


@pytest.mark.parametrize("tier", ["redis", "store"])
def test_an_older_index_than_this_host_has_seen_is_refused_and_the_newer_one_goes_on(host, kernel, tier):
    trapped = host.trap.kernel(kernel)
    old = host.publisher.publish_index(trapped, [host.publisher.variant(trapped)])
    host.publisher.publish(kernel)
    assert host.publisher.loader().load(REF).source == "store"
    host.plant_bundle("store", trapped.manifest, trapped.bundle)
    host.plant_index(tier, NAME, old, generation=1)
    # A new process of this host, which asks every time.
    loader = host.publisher.loader(refresh_s=1e-6)
    module = loader.load(REF)
    assert module.digest == kernel.manifest.digest
    join_background()
    assert loader.stats()["refused"][Reason.INDEX_ROLLED_BACK] >= 1
    assert not host.trap.was_sprung


@pytest.mark.parametrize("junk", ["99999999999999999999", "00000000000000000001.bak", "zzz"])
def test_junk_beside_the_indexes_of_the_store_hides_none_of_them(host, kernel, junk):
    host.publisher.publish(kernel)
    host.publisher.store.put_if_absent(f"{index_prefix('default', NAME)}/{junk}", b"junk")
    module = host.publisher.loader().load(REF)
    assert module.source == "store"


def test_a_swelled_index_object_hides_none_of_the_others(host, kernel):
    host.publisher.publish(kernel)
    host.publisher.store.put_if_absent(index_key("default", NAME, 77), bytes(17 * 1024**2))
    assert host.publisher.loader().load(REF).source == "store"


def test_a_bad_index_in_redis_does_not_hide_the_stores(host, kernel):
    host.publisher.publish(kernel)
    host.valkey.client().set(f"morph:default:index:{NAME}", b"junk")
    loader = host.publisher.loader()
    assert loader.load(REF).source == "store"
    assert loader.stats()["refused"] == {Reason.MALFORMED: 1}


def test_a_redis_that_is_stuck_at_an_old_index_hides_a_revocation_for_one_refresh_only(host, kernel):
    old = host.publisher.publish(kernel)
    host.valkey.client().set(f"morph:default:index:{NAME}", old)
    loader = host.publisher.loader(refresh_s=0.01)
    assert loader.load(REF).source == "store"
    host.publisher.publish_index(kernel, [host.publisher.variant(kernel)], revoked=frozenset({kernel.manifest.digest}))
    for _ in range(100):
        loader.at_boundary()
        join_background()
        if loader.load(REF).reason is Reason.REVOKED:
            return
    pytest.fail("the store's newer index was never looked at")


def test_a_damaged_index_on_disk_is_set_aside_and_fetched_again(host, kernel):
    host.publisher.publish(kernel)
    host.publisher.loader().load(REF)
    (path,) = (host.folder().path / "index").iterdir()
    path.write_bytes(flip(path.read_bytes(), 4000))
    loader = host.publisher.loader()
    assert loader.load(REF).source == "disk"
    assert loader.stats()["refused"] == {"disk:bad_signature": 1}
    set_aside = [kept.name.partition(".index.")[0] for kept in (host.folder().path / "quarantine").iterdir()]
    assert set_aside == [f"{host.publisher.root}.{NAME}"]
    assert host.publisher.loader().load(REF).source == "disk"


def test_a_damaged_generation_on_disk_does_not_refuse_every_index_for_good(host, kernel):
    host.publisher.publish(kernel)
    host.publisher.loader().load(REF)
    (path,) = (host.folder().path / "index").iterdir()
    path.write_bytes(b"9" + path.read_bytes()[1:])
    loader = host.publisher.loader()
    assert loader.load(REF).source == "disk"
    assert loader.stats()["refused"] == {"disk:malformed": 1}


def test_a_revoked_publisher_names_nothing_any_more(host, kernel):
    host.publisher.publish(kernel)
    host.publisher.loader().load(REF)
    revoke_key(host.publisher.folder / "trust", host.publisher.signer(Role.PUBLISHER).keyid)
    module = host.publisher.loader().load(kernel.blueprint)
    assert (module.source, module.reason) == ("eager", Reason.KEY_REVOKED)


@pytest.mark.parametrize("trust", ["missing", "torn", "another root"])
def test_without_trust_everything_runs_eager(host, kernel, stranger, trust):
    host.publisher.publish(kernel)
    path = host.publisher.folder / "trust" / "trust.json"
    settings = host.publisher.settings()
    if trust == "missing":
        path.unlink()
    elif trust == "torn":
        path.write_bytes(path.read_bytes()[:-10])
    else:
        public = stranger.signer(Role.ROOT).public_hex
        settings = replace(settings, endpoints=replace(settings.endpoints, trust_root=public))
    loader = type(host.publisher.loader())(settings)
    module = loader.load(kernel.blueprint)
    assert (module.source, module.reason) == ("eager", Reason.NO_TRUST)
    assert loader.stats()["refused"]["trust:no_trust"] == 1
    with pytest.raises(BlueprintUnreachableError):
        loader.load(REF)
    assert_works(module)


def test_a_run_plan_cannot_give_a_blueprint_the_kernels_of_another(host, kernel, compiled):
    host.publisher.publish(kernel)
    host.publisher.publish(compiled("squeeze_excite"))
    plan = host.publisher.loader().plan([NAME, "squeeze_excite"])
    mine, other = plan.kernels.values()
    mixed = RunPlan({mine.ref: replace(mine, variants=other.variants)})
    with pytest.raises(MalformedError, match="variants"):
        RunPlan.from_bytes(mixed.to_bytes())


S3_CASES = ["untouched", "a flipped bit", "a trap that nobody signed", "an index by a stranger", "junk above the index"]


@pytest.mark.parametrize("case", S3_CASES)
def test_in_a_real_s3_store_too(host, kernel, stranger, s3_store_url, case):
    folder = host.publisher.folder
    url = s3_store_url.replace("/?", f"/{folder.name}?")
    host.publisher = Publisher(folder, store_url=url, redis_url=host.valkey.url)
    subject, attestations, signer = kernel, None, None
    if case == "a trap that nobody signed":
        subject = host.trap.kernel(kernel)
        attestations = ()
    if case == "an index by a stranger":
        signer = stranger.signer(Role.PUBLISHER)
    host.publisher.publish(subject, attestations=attestations, signer=signer)
    if case == "a flipped bit":
        library = flip(kernel.bundle.libraries["forward"], 9999)
        damaged = replace(kernel.bundle, libraries={**kernel.bundle.libraries, "forward": library})
        host.plant_bundle("store", kernel.manifest, damaged)
    if case == "junk above the index":
        host.publisher.store.put_if_absent(index_key("default", NAME, 10**19), b"junk")
    module = host.publisher.loader().load(kernel.blueprint)
    expected = {
        "a flipped bit": Reason.DIGEST_MISMATCH,
        "a trap that nobody signed": Reason.UNSIGNED,
        "an index by a stranger": Reason.UNTRUSTED_KEY,
    }.get(case)
    assert module.reason is expected
    assert module.source == ("eager" if expected else "store")
    assert_works(module)
    assert not host.trap.was_sprung
