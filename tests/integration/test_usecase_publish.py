"""Publishing, moving and taking back: the registry's guard first, then what loaders are told."""

from datetime import UTC, datetime, timedelta

import pytest

from morph_assets.registry import kernels as registry_kernels
from morph_assets.registry.errors import GuardError, IllegalTransitionError
from morph_assets.registry.held_lease import hold_lease
from morph_assets.registry.indexes import get_index_state
from morph_assets.usecases.publish_index import needs_renewal
from morph_assets.usecases.publish_kernel import NotPublishableError
from morph_assets.usecases.rollback_alias import NothingToRollBackError
from morph_kernels.loader import BlueprintUnreachableError
from morph_kernels.reasons import Reason
from morph_kernels.store import StoreUnavailableError
from tests.integration.test_usecase_compile import SMALL

NOWHERE = "unix:///nowhere/valkey.sock"
DEAD_STORE = "s3://morph/x?endpoint=http://127.0.0.1:9&allow_http=true&access_key_id=a&secret_access_key=b"


def test_a_published_kernel_reaches_a_loader_compiled(made_platform):
    _, published = made_platform.published()

    module = made_platform.loader().load("ffn_gelu@production")

    assert (module.source, module.reason) in {("store", None), ("process", None)}
    assert module.digest == published.digest


def test_without_redis_publishing_succeeds_and_the_failure_is_counted(made_platform):
    made_platform.judged()
    with made_platform.other(redis_url=NOWHERE) as platform:
        platform.publish_kernel("ffn_gelu")
        assert platform.connections.counts == {"redis_index": 1}

    assert made_platform.loader(redis_url=None).load("ffn_gelu@production").digest is not None


def test_publishing_again_changes_nothing(made_platform):
    _, first = made_platform.published()

    assert made_platform.platform.publish_kernel("ffn_gelu") == first


def test_without_the_store_the_registry_knows_that_loaders_are_behind(made_platform):
    made_platform.judged()
    with made_platform.other(store_url=DEAD_STORE) as platform, pytest.raises(StoreUnavailableError):
        platform.publish_kernel("ffn_gelu")

    relayed = made_platform.platform.relay_indexes()

    assert relayed.names == ("ffn_gelu",)
    assert made_platform.loader().load("ffn_gelu@production").digest is not None
    assert made_platform.platform.relay_indexes().names == ()


def test_a_rejected_kernel_is_published_by_no_path(made_platform):
    _, kernel = made_platform.judged(verdict="fail")
    platform = made_platform.platform
    publisher = platform.connections.registry("publisher")

    with pytest.raises(NotPublishableError, match="is REJECTED"):
        platform.publish_kernel("ffn_gelu")
    with pytest.raises(IllegalTransitionError):
        registry_kernels.publish_kernel(publisher, kernel.digest)
    with pytest.raises(GuardError):
        platform.promote("ffn_gelu", "production")
    platform.publish_index("ffn_gelu")

    assert platform.find_kernel(kernel.digest).state == "REJECTED"
    with pytest.raises(BlueprintUnreachableError):
        made_platform.loader().load("ffn_gelu@production")
    module = made_platform.loader().load(platform.show_blueprint("ffn_gelu").blueprint)
    assert (module.source, module.reason) == ("eager", Reason.NO_VARIANT)


def test_a_kernel_nobody_evaluated_and_a_name_without_one_cannot_be_published(made_platform):
    made_platform.compiled()
    made_platform.platform.submit_blueprint(SMALL)

    with pytest.raises(NotPublishableError, match="is COMPILED"):
        made_platform.platform.publish_kernel("ffn_gelu")
    with pytest.raises(NotPublishableError, match="no kernel yet"):
        made_platform.platform.publish_kernel("small")


@pytest.mark.parametrize("leave", ["quarantine_kernel", "revoke_kernel"])
def test_a_kernel_taken_back_is_loaded_by_nobody_from_then_on(made_platform, leave):
    _, published = made_platform.published()
    loader = made_platform.loader()
    assert loader.load("ffn_gelu").digest is not None

    getattr(made_platform.platform, leave)(published.digest, "wrong gradients on odd sizes")

    assert loader.load("ffn_gelu").source == "eager"
    assert made_platform.loader("another").load("ffn_gelu").source == "eager"
    assert made_platform.platform.relay_indexes().names == ()


def test_a_slow_publisher_does_not_hide_a_revocation_in_redis(made_platform):
    _, published = made_platform.published()
    redis = made_platform.platform.connections.redis
    old = redis.find_index("ffn_gelu")

    made_platform.platform.revoke_kernel(published.digest, "bad")
    redis.put_index("ffn_gelu", published.generation, old)

    assert redis.find_index("ffn_gelu") != old
    assert made_platform.loader("fresh").load("ffn_gelu").source == "eager"


def test_an_alias_is_promoted_and_rolled_back(made_platform):
    platform = made_platform.platform
    _, first = made_platform.published()
    platform.promote("ffn_gelu@1", "staging")
    with pytest.raises(NothingToRollBackError):
        platform.rollback_alias("ffn_gelu", "staging")
    other = made_platform.build("squeeze_excite").blueprint
    renamed = type(other).from_bytes(other.to_bytes(), name="ffn_gelu")
    made_platform.judged("squeeze_excite")
    platform.submit_blueprint(renamed)
    second = platform.publish_kernel("ffn_gelu")
    assert (first.version, second.version) == (1, 2)

    assert platform.rollback_alias("ffn_gelu") == 1

    module = made_platform.loader().load("ffn_gelu@production")
    assert module.digest == first.digest
    assert get_index_state(platform.connections.registry("platform"), "ffn_gelu").is_behind is False


def test_an_index_is_signed_again_long_before_it_expires():
    now = datetime(2031, 1, 1, tzinfo=UTC)

    assert needs_renewal(None, now)
    assert not needs_renewal(now - timedelta(days=9), now)
    assert needs_renewal(now - timedelta(days=10), now)


def test_only_one_relay_works_at_a_time(made_platform):
    made_platform.published()
    with made_platform.other() as other, hold_lease(other.connections.registry("publisher"), "relay/index"):
        assert not made_platform.platform.relay_indexes().was_leader
