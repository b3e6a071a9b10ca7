"""Tells the loaders of one name what they may load: the next signed index, in the store and in Redis."""

from datetime import UTC, datetime, timedelta

from morph_assets.connections import Connections
from morph_assets.registry import indexes
from morph_assets.registry.indexes import IndexSnapshot
from morph_kernels.artifact.index import IndexDocument, Variant, sign_index
from morph_kernels.artifact.roles import Role
from morph_kernels.artifact.target import Target
from morph_kernels.artifact.trust import SKEW
from morph_kernels.store.keys import index_key

LIFETIME = timedelta(days=30)
# An index is renewed long before it ends, so that a platform down for days stops no loader.
RENEW_AFTER = timedelta(days=10)
# The trust file tells time by the second: within that of a rotation an index is rather published once too often.
_TRUST_TICK = timedelta(seconds=1)


def publish_index(connections: Connections, name: str) -> int:
    """Publish the next generation of the name's index and return it.

    The store must take it; Redis is best effort, a failure is counted as `redis_index`.

    Raises:
        NotRegisteredError: there is no blueprint of this name.
        StoreError: the store does not answer; the registry then still knows that loaders are behind.
        SignerError: the publisher's signer failed.
    """
    registry = connections.registry("publisher")
    snapshot = indexes.next_index(registry, name)
    now = datetime.now(UTC)
    envelope = sign_index(_document(snapshot, now), connections.signer(Role.PUBLISHER))
    connections.store.put_if_absent(index_key(snapshot.tenant, name, snapshot.generation), envelope)
    connections.best_effort("redis_index", lambda redis: redis.put_index(name, snapshot.generation, envelope))
    indexes.index_was_published(registry, snapshot)
    return snapshot.generation


def refresh_index(connections: Connections, name: str) -> int:
    """Return the generation that loaders see, published anew only where it is behind or grows old."""
    state = indexes.get_index_state(connections.registry("publisher"), name)
    if state.is_behind or needs_renewal(state.published_at, datetime.now(UTC), signs_since=signs_since(connections)):
        return publish_index(connections, name)
    return state.published_generation


def needs_renewal(published_at: datetime | None, now: datetime, *, signs_since: datetime | None = None) -> bool:
    """Return whether an index was never published, grows old, or was signed before the publisher's key came."""
    if published_at is None or now - published_at >= RENEW_AFTER:
        return True
    return signs_since is not None and published_at < signs_since


def signs_since(connections: Connections) -> datetime | None:
    """Return when the newest publisher's key had surely come: what was published before may end with an older one.

    None where there never was another.

    Raises:
        TrustError: the trust file cannot be believed.
    """
    if connections.config.endpoints.trust_file is None:
        return None
    trust = connections.trust()
    if sum(key.role is Role.PUBLISHER for key in trust.keys.values()) == 1:
        return None  # the first key: nothing was signed before it
    return max((key.not_before + SKEW + _TRUST_TICK for key in trust.keys_of(Role.PUBLISHER)), default=None)


def _document(snapshot: IndexSnapshot, now: datetime) -> IndexDocument:
    return IndexDocument(
        tenant=snapshot.tenant,
        name=snapshot.name,
        generation=snapshot.generation,
        issued_at=now,
        expires_at=now + LIFETIME,
        aliases=snapshot.aliases,
        releases={release.version: (release.blueprint_digest, release.document) for release in snapshot.releases},
        variants=tuple(
            Variant(
                kernel_digest=variant.kernel_digest,
                blueprint_digest=variant.blueprint_digest,
                target=Target.from_document(variant.target),
                size_bytes=variant.size_bytes,
                speed_ratio=variant.speed_ratio or 0.0,
                attestations=variant.attestations,
            )
            for variant in snapshot.variants
        ),
        revoked=snapshot.revoked,
    )
