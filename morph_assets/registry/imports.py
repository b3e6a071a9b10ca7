"""Bulk imports: a batch of kernels in one transaction, with one event that names its manifest."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from morph_assets.registry.connection import Registry
from morph_kernels.identity import BlueprintDigest, KernelDigest, ObjectKey


@dataclass(frozen=True)
class ImportedBatch:
    """A batch that was taken in; `rows` is 0 where the same manifest was taken in before."""

    import_id: UUID
    rows: int


def import_batch(registry: Registry, manifest: bytes, manifest_key: ObjectKey) -> ImportedBatch:
    """Take in everything that a batch manifest tells of, or nothing; the same manifest again changes nothing.

    As curator or admin. The manifest has to lie in the store under its key already: it is what the event names.

    Raises:
        InvalidRecordError: the manifest is none, or a row breaks a rule of the schema.
        GuardError: a kernel comes without what vouches for it.
        NotRegisteredError: the parent of a blueprint is not registered.
        QuotaExceededError: the tenant has as many kernels, blueprints or bytes as it may.
    """
    import_id, rows = registry.call(
        "SELECT import_id, row_count FROM morph.import_kernels(%s, %b, %s)", (uuid4(), manifest, manifest_key)
    )
    return ImportedBatch(import_id, rows)


def known_kernels(registry: Registry, digests: Sequence[KernelDigest]) -> frozenset[KernelDigest]:
    """Return those of the kernels that the registry has, in whatever state."""
    with registry.transaction() as connection:
        rows = connection.execute(
            "SELECT digest::text FROM morph.kernel WHERE digest = ANY (%s)", (list(digests),)
        ).fetchall()
    return frozenset(KernelDigest(digest) for (digest,) in rows)


def known_releases(registry: Registry, names: Sequence[str]) -> frozenset[tuple[str, BlueprintDigest]]:
    """Return the releases of these names, each as its name and its blueprint."""
    with registry.transaction() as connection:
        rows = connection.execute(
            "SELECT name::text, blueprint_digest::text FROM morph.blueprint_release WHERE name = ANY (%s)",
            (list(names),),
        ).fetchall()
    return frozenset((name, BlueprintDigest(digest)) for name, digest in rows)
