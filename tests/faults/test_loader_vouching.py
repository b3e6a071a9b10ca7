"""Kernels that the wrong parties vouch for, or nobody any more: never executed, whoever stores them."""

from dataclasses import replace

import pytest

from morph_kernels.artifact.host import current_runtime
from morph_kernels.artifact.trust import Role, revoke_key
from morph_kernels.reasons import Reason
from tests.support.hostile_host import NAME, REF, TIERS, assert_works, join_background
from tests.support.publishing import Publisher


@pytest.fixture
def kernel(compiled):
    return compiled(NAME)


def speaking_for(publisher, role, other):
    """Return a signer that has one role's key and claims another role: a thief with the wrong key."""
    thief = publisher.signer(role)
    thief.role = other
    return thief


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Publisher(tmp_path_factory.mktemp("stranger"))


VOUCHING = {
    "nobody": (lambda _h, _k, _o: (), Reason.UNSIGNED),
    "the compiler alone": (lambda h, k, _o: h.publisher.attest(k)[:1], Reason.UNSIGNED),
    "the evaluator alone": (lambda h, k, _o: h.publisher.attest(k)[1:], Reason.UNSIGNED),
    "a compiler whom nobody trusts": (
        lambda h, k, o: h.publisher.attest(k, compiler=o.signer(Role.COMPILER)),
        Reason.UNTRUSTED_KEY,
    ),
    "an evaluator whom nobody trusts": (
        lambda h, k, o: h.publisher.attest(k, evaluator=o.signer(Role.EVALUATOR)),
        Reason.UNTRUSTED_KEY,
    ),
    "the publisher as compiler": (
        lambda h, k, _o: h.publisher.attest(k, compiler=speaking_for(h.publisher, Role.PUBLISHER, Role.COMPILER)),
        Reason.WRONG_ROLE,
    ),
    "the compiler as evaluator too": (
        lambda h, k, _o: h.publisher.attest(k, evaluator=speaking_for(h.publisher, Role.COMPILER, Role.EVALUATOR)),
        Reason.WRONG_ROLE,
    ),
    "both, for another torch": (
        lambda h, k, _o: h.publisher.attest(k, runtime=replace(current_runtime(), torch="2.12.1")),
        Reason.TORCH_NOT_VALIDATED,
    ),
    "both, for another tenant": (lambda h, k, _o: h.publisher.attest(k, tenant="others"), Reason.WRONG_TENANT),
}


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("who", VOUCHING)
def test_a_kernel_that_the_right_two_do_not_vouch_for_never_runs(host, kernel, stranger, tier, who):
    attest, reason = VOUCHING[who]
    trapped = host.trap.kernel(kernel)
    host.publisher.publish(trapped, attestations=attest(host, trapped, stranger))
    host.plant_bundle(tier, trapped.manifest, trapped.bundle)
    before = host.valkey.client().keys("*bundle*")
    loader = host.publisher.loader()
    module = loader.load(REF)
    assert (module.source, module.reason) == ("eager", reason)
    assert loader.stats()["refused"] == {f"{tier}:{reason}": 1}
    assert_works(module)
    assert not host.trap.was_sprung
    join_background()
    # The bytes are whole, and other hosts may trust them: one that does not leaves them where they are.
    assert host.valkey.client().keys("*bundle*") == before
    assert (host.disk().digests() == [trapped.manifest.digest]) is (tier == "disk")


def test_what_one_loader_verified_is_no_word_for_another_that_trusts_others(host, kernel, tmp_path):
    host.publisher.publish(kernel)
    mine = host.publisher.loader()
    assert [mine.load(REF).source, mine.load(REF).source] == ["store", "process"]
    other = Publisher(tmp_path / "other", tenant="others")
    other.publish(kernel, attestations=host.publisher.attest(kernel))
    assert other.loader().load(REF).reason is Reason.UNTRUSTED_KEY


@pytest.mark.parametrize("role", [Role.COMPILER, Role.EVALUATOR])
@pytest.mark.parametrize("tier", TIERS)
def test_a_revoked_key_vouches_for_nothing(host, kernel, tier, role):
    trapped = host.trap.kernel(kernel)
    host.publisher.publish(trapped)
    host.plant_bundle(tier, trapped.manifest, trapped.bundle)
    revoke_key(host.publisher.folder / "trust", host.publisher.signer(role).keyid)
    module = host.publisher.loader().load(REF)
    assert (module.source, module.reason) == ("eager", Reason.KEY_REVOKED)
    assert_works(module)
    assert not host.trap.was_sprung


@pytest.mark.parametrize("tier", TIERS)
def test_a_revoked_kernel_never_runs(host, kernel, tier):
    trapped = host.trap.kernel(kernel)
    variant = host.publisher.variant(trapped)
    host.publisher.publish_index(trapped, [variant], revoked=frozenset({trapped.manifest.digest}))
    host.plant_bundle(tier, trapped.manifest, trapped.bundle)
    module = host.publisher.loader().load(REF)
    assert (module.source, module.reason) == ("eager", Reason.REVOKED)
    assert_works(module)
    assert not host.trap.was_sprung
