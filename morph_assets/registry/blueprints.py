"""Blueprints as the registry keeps them: immutable documents, released under a name with gap-free versions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from morph_assets.registry.connection import Registry
from morph_kernels.identity import BlueprintDigest


@dataclass(frozen=True)
class SubmittedRelease:
    """Where a submitted document ended up; `created` is false where the name had this digest already."""

    name: str
    version: int
    blueprint_digest: BlueprintDigest
    created: bool


@dataclass(frozen=True)
class ReleaseRecord:
    """One release of a blueprint; state is SUBMITTED, PUBLISHED (has a published kernel) or RETIRED."""

    name: str
    version: int
    blueprint_digest: BlueprintDigest
    state: str
    tags: list[str]
    author: str
    parents: list[str]
    aliases: list[str]
    created_at: datetime


@dataclass(frozen=True)
class _Document:
    document: bytes


def submit_blueprint(
    registry: Registry,
    name: str,
    blueprint_digest: BlueprintDigest,
    document_bytes: bytes,
    *,
    tags: Sequence[str] = (),
    author: str = "",
    parents: Sequence[BlueprintDigest] = (),
) -> SubmittedRelease:
    """Keep the document and release it under the name; a digest that the name has already is its old release.

    Parents are digests of registered blueprints that this one was derived from.

    Raises:
        InvalidRecordError: the digest is not the document's sha256, or the name or a tag has not the right form.
        NotRegisteredError: a parent is not registered.
        QuotaExceededError: the tenant has as many blueprints as it may.
    """
    version, created = registry.call(
        "SELECT release_version, was_created FROM morph.submit_blueprint(%s, %s, %s, %s::text[], %s, %s::text[])",
        (name, blueprint_digest, document_bytes, list(tags), author, list(parents)),
    )
    return SubmittedRelease(name, version, blueprint_digest, created)


def list_releases(registry: Registry, *, name: str | None = None, limit: int = 10_000) -> list[ReleaseRecord]:
    """Return the releases, of one name or of all, in order of name and version."""
    return registry.fetch(
        ReleaseRecord,
        """SELECT r.name, r.version, r.blueprint_digest, r.state, r.tags, r.author, r.parents, r.created_at,
                  ARRAY(SELECT a.alias::text FROM morph.alias a
                        WHERE a.tenant = r.tenant AND a.name = r.name AND a.version = r.version ORDER BY 1) AS aliases
           FROM morph.blueprint_release r WHERE %s::text IS NULL OR r.name = %s
           ORDER BY r.name, r.version LIMIT %s""",
        (name, name, limit),
    )


def list_blueprints(registry: Registry, *, limit: int = 10_000) -> list[ReleaseRecord]:
    """Return the newest release of every name that is not retired."""
    return registry.fetch(
        ReleaseRecord,
        """SELECT DISTINCT ON (r.name)
                  r.name, r.version, r.blueprint_digest, r.state, r.tags, r.author, r.parents, r.created_at,
                  ARRAY(SELECT a.alias::text FROM morph.alias a
                        WHERE a.tenant = r.tenant AND a.name = r.name AND a.version = r.version ORDER BY 1) AS aliases
           FROM morph.blueprint_release r WHERE r.state <> 'RETIRED'
           ORDER BY r.name, r.version DESC LIMIT %s""",
        (limit,),
    )


def find_release(
    registry: Registry, name: str, *, version: int | None = None, alias: str | None = None
) -> ReleaseRecord | None:
    """Return the release with the version, or the one the alias points at, or else the newest; or None."""
    for release in reversed(list_releases(registry, name=name)):
        if version is not None and release.version != version:
            continue
        if alias is not None and alias not in release.aliases:
            continue
        return release
    return None


def find_blueprint_document(registry: Registry, blueprint_digest: BlueprintDigest) -> bytes | None:
    """Return the canonical bytes that the digest names."""
    found = registry.fetch_one(
        _Document, "SELECT document FROM morph.blueprint_document WHERE digest = %s", (blueprint_digest,)
    )
    return None if found is None else found.document


def retire_release(registry: Registry, name: str, version: int, *, reason: str) -> None:
    """Take a release out of use for good.

    Raises:
        GuardError: an alias points at it.
    """
    registry.call("SELECT morph.retire_release(%s, %s, %s)", (name, version, reason))
