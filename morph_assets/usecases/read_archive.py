"""Reads back what the platform keeps of its history in the object store: archived chains, bodies, commit records."""

from collections.abc import Iterator
from datetime import datetime

from morph_assets.progress import Progress
from morph_assets.registry.audit.assembly import assemble_log
from morph_assets.registry.audit.row import EventRow
from morph_assets.registry.audit.segment import MAX_SEGMENT_BYTES, parse_segment
from morph_assets.registry.events import Chain
from morph_assets.usecases.plan_recovery import RefusedRecord
from morph_kernels.artifact.trust_policy import TrustPolicy
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.checkpoint.manifest import (
    MAX_MANIFEST_BYTES,
    CheckpointManifest,
    ManifestError,
    manifest_digest,
    parse_manifest,
)
from morph_kernels.checkpoint.record import MAX_RECORD_BYTES, CommitRecord, verify_record
from morph_kernels.store import ObjectStore, ObjectTooLargeError
from morph_kernels.store.keys import (
    InvalidKeyError,
    log_prefix,
    parse_key,
    parse_segment_key,
    runs_prefix,
    segment_key,
    timeline_of,
)


def read_archived_chain(store: ObjectStore, tenant: str, chain: Chain, progress: Progress) -> list[EventRow]:
    """Return the events of an archived chain, oldest first, every hash recomputed.

    Raises:
        ArchiveBrokenError: an event is missing or was changed.
        MalformedError: a segment is damaged.
    """
    listed = (_place(info.key) for info in store.list_objects(log_prefix(tenant, chain.name)))
    places = sorted(place for place in listed if place is not None)
    segments = []
    with progress(f"reading the archived {chain.name}", total=len(places)) as advance:
        for place in places:
            key = segment_key(tenant, chain.name, *place)
            segments.append(parse_segment(store.get(key, max_bytes=MAX_SEGMENT_BYTES), what=key))
            advance(1)
    return assemble_log(segments)


def _place(key: str) -> tuple[int, int] | None:
    try:
        return parse_segment_key(key)
    except InvalidKeyError:
        return None  # whatever else lies there is no segment; a missing one breaks the chain


def iter_records(
    store: ObjectStore, tenant: str, *, trust: TrustPolicy, now: datetime
) -> Iterator[CommitRecord | RefusedRecord]:
    """Yield every commit record of the tenant that a trusted trainer signed; of the others, why they are not believed.

    Raises:
        StoreError: the store does not answer.
    """
    for info in store.list_objects(runs_prefix(tenant)):
        if timeline_of(info.key) is None:
            continue
        key = parse_key(info.key)
        try:
            found = verify_record(store.get(key, max_bytes=MAX_RECORD_BYTES), key=key, trust=trust, now=now)
        except ObjectTooLargeError as error:
            yield RefusedRecord(key, str(error))
            continue
        yield RefusedRecord(key, f"{found.reason}: {found.detail}") if isinstance(found, Rejected) else found


def read_manifest(store: ObjectStore, record: CommitRecord) -> CheckpointManifest:
    """Return the manifest that a commit record names.

    Raises:
        ManifestError: it is not the one that was committed.
    """
    data = store.get(record.manifest_key, max_bytes=MAX_MANIFEST_BYTES)
    if manifest_digest(data) != record.manifest_digest:
        raise ManifestError(f"{record.manifest_key} is not the manifest that was committed")
    return parse_manifest(data)
