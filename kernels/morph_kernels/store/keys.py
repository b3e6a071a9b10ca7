"""The only place that builds and reads object keys.

```
tenants/<tenant>/blobs/<2 of digest>/<digest>                   blueprints, libraries, anything by content
tenants/<tenant>/bundles/<2 of digest>/<kernel digest>          manifest and libraries of one kernel
tenants/<tenant>/index/<name>/<generation, 20 digits>           signed index documents, the greatest key is the newest
tenants/<tenant>/requests/<digest of the request>               what a loader missed
tenants/<tenant>/reports/<2 of digest>/<digest>                 evaluations, kept also for what was rejected
tenants/<tenant>/proofs/<2 of digest>/<kernel digest>/<sequence, 16 digits>    signed: what was deleted of a kernel, why
tenants/<tenant>/runs/<run>/packs/<pack id>                     new tensors of one save and rank
tenants/<tenant>/runs/<run>/checkpoints/<checkpoint id>/manifest
tenants/<tenant>/runs/<run>/commits/<timeline, 10>-<sequence, 20 digits>
tenants/<tenant>/log/<timeline, 4>/<first sequence, 16 digits>.jsonl.zst        the log's segments
tenants/<tenant>/security/<timeline, 4>/<first sequence, 16 digits>.jsonl.zst   those of the chain of refusals
anchors/<number, 16 digits>                                     signed heads of all tenants' chains
```
"""

import re

from morph_kernels.errors import MorphError
from morph_kernels.identity import COUNTER_BITS, BlobDigest, KernelDigest, ObjectKey, is_digest, parse_name

MAX_KEY_LENGTH = 512
_SEGMENT = re.compile(r"[A-Za-z0-9_=][A-Za-z0-9._=-]{0,127}")
_SEGMENT_KEY = re.compile(r"tenants/[^/]+/(?:log|security)/([0-9]{4})/([0-9]{16})[.]jsonl[.]zst")
_ANCHOR_KEY = re.compile(r"anchors/([0-9]{16})")
ANCHOR_PREFIX = "anchors"
_CONTENT_KEY = re.compile(r"tenants/[^/]+/(blob|bundle|report)s/[0-9a-f]{2}/([0-9a-f]{64})")
_TIMELINE_KEY = re.compile(
    r"tenants/[^/]+/(?:index/[^/]+/([0-9]{20})|runs/[^/]+/commits/([0-9]{10})-[0-9]{20}|(?:log|security)/([0-9]{4})/.*)"
)
_COMMIT_KEY = re.compile(r"tenants/[^/]+/runs/[^/]+/commits/([0-9]{10})-([0-9]{20})")
_INDEX_KEY = re.compile(r"tenants/[^/]+/index/[^/]+/([0-9]{20})")


class InvalidKeyError(MorphError):
    """A key that could name something outside the store, or nothing at all. Not retryable."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key[:MAX_KEY_LENGTH]!r} is not an object key")


def parse_key(key: str) -> ObjectKey:
    """Return the key unchanged if every segment is a plain name; raise `InvalidKeyError` otherwise."""
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_LENGTH:
        raise InvalidKeyError(str(key))
    if not all(_SEGMENT.fullmatch(segment) for segment in key.split("/")):
        raise InvalidKeyError(key)
    return ObjectKey(key)


def parse_prefix(prefix: str) -> str:
    """Return the prefix as whole segments without a trailing slash; raise `InvalidKeyError` otherwise."""
    prefix = prefix.removesuffix("/")
    return parse_key(prefix) if prefix else ""


def tenant_prefix(tenant: str) -> str:
    """Return the prefix of everything that belongs to a tenant."""
    return f"tenants/{parse_name(tenant, what='tenant')}"


def blob_key(tenant: str, digest: BlobDigest) -> ObjectKey:
    """Return where a blob lies by its content."""
    return _by_digest(tenant, "blobs", digest)


def bundle_key(tenant: str, kernel_digest: KernelDigest) -> ObjectKey:
    """Return where a kernel's bundle lies."""
    return _by_digest(tenant, "bundles", kernel_digest)


def bundle_prefix(tenant: str) -> str:
    """Return the prefix of every kernel's bundle."""
    return f"{tenant_prefix(tenant)}/bundles"


def report_key(tenant: str, digest: BlobDigest) -> ObjectKey:
    """Return where an evaluation report lies by its content."""
    return _by_digest(tenant, "reports", digest)


def deletion_proof_key(tenant: str, kernel_digest: KernelDigest, seq: int) -> ObjectKey:
    """Return where the proof of a kernel's deletion lies; the sequence is that of the event which began it."""
    return ObjectKey(f"{_by_digest(tenant, 'proofs', kernel_digest)}/{_number(seq, 16)}")


def index_prefix(tenant: str, name: str) -> str:
    """Return the prefix of every generation of a blueprint's index."""
    return f"{tenant_prefix(tenant)}/index/{parse_name(name, what='blueprint')}"


def index_key(tenant: str, name: str, generation: int) -> ObjectKey:
    """Return where one generation of an index lies; keys order as generations do."""
    return ObjectKey(f"{index_prefix(tenant, name)}/{_number(generation, 20)}")


def parse_index_generation(key: str) -> int:
    """Return the generation that an index key names, or raise `InvalidKeyError`."""
    match = _INDEX_KEY.fullmatch(key)
    if match is None:
        raise InvalidKeyError(key)
    return int(match[1])


def content_of(key: str) -> tuple[str, str] | None:
    """Return the kind (`blob`, `bundle`, `report`) and the digest of an object that is named by its content."""
    match = _CONTENT_KEY.fullmatch(key)
    return None if match is None else (match[1], match[2])


def timeline_of(key: str) -> int | None:
    """Return the timeline that an index, a commit record or a segment says in its key, or None for other objects."""
    match = _TIMELINE_KEY.fullmatch(key)
    if match is None:
        return None
    generation, record, segment = match.groups()
    return int(generation) >> COUNTER_BITS if generation else int(record or segment)


def build_request_prefix(tenant: str) -> str:
    """Return the prefix of everything that loaders asked for."""
    return f"{tenant_prefix(tenant)}/requests"


def build_request_key(tenant: str, request_digest: str) -> ObjectKey:
    """Return where a loader asks for a build; asking twice is asking once."""
    return ObjectKey(f"{build_request_prefix(tenant)}/{_digest(request_digest)}")


def pack_key(tenant: str, run: str, pack_id: str) -> ObjectKey:
    """Return where a pack of new tensors lies; every upload has its own id."""
    return ObjectKey(f"{_run_prefix(tenant, run)}/packs/{parse_name(pack_id, what='pack id')}")


def checkpoint_manifest_key(tenant: str, run: str, checkpoint_id: str) -> ObjectKey:
    """Return where a checkpoint's manifest lies."""
    return ObjectKey(
        f"{_run_prefix(tenant, run)}/checkpoints/{parse_name(checkpoint_id, what='checkpoint id')}/manifest"
    )


def commit_prefix(tenant: str, run: str) -> str:
    """Return the prefix of a run's commit records."""
    return f"{_run_prefix(tenant, run)}/commits"


def commit_record_key(tenant: str, run: str, seq: int, *, timeline: int = 0) -> ObjectKey:
    """Return where a commit record lies; keys order as (timeline, sequence) does."""
    return ObjectKey(f"{commit_prefix(tenant, run)}/{_number(timeline, 10)}-{_number(seq, 20)}")


def parse_commit_record_key(key: str) -> tuple[int, int]:
    """Return the timeline and sequence number that a commit record's key names, or raise `InvalidKeyError`."""
    match = _COMMIT_KEY.fullmatch(key)
    if match is None:
        raise InvalidKeyError(key)
    return int(match[1]), int(match[2])


def log_prefix(tenant: str, chain: str) -> str:
    """Return the prefix of every archived segment of a chain: `log` or `security`."""
    return f"{tenant_prefix(tenant)}/{parse_name(chain, what='chain')}"


def segment_key(tenant: str, chain: str, timeline: int, first_seq: int) -> ObjectKey:
    """Return where the segment that begins with an event lies; keys order as (timeline, sequence) does."""
    return ObjectKey(f"{log_prefix(tenant, chain)}/{_number(timeline, 4)}/{_number(first_seq, 16)}.jsonl.zst")


def parse_segment_key(key: str) -> tuple[int, int]:
    """Return the timeline and first sequence number that a segment's key names, or raise `InvalidKeyError`."""
    match = _SEGMENT_KEY.fullmatch(key)
    if match is None:
        raise InvalidKeyError(key)
    return int(match[1]), int(match[2])


def anchor_key(number: int) -> ObjectKey:
    """Return where an anchor lies; it covers every tenant, so it belongs to none."""
    return ObjectKey(f"{ANCHOR_PREFIX}/{_number(number, 16)}")


def parse_anchor_number(key: str) -> int:
    """Return the number that an anchor's key names, or raise `InvalidKeyError`."""
    match = _ANCHOR_KEY.fullmatch(key)
    if match is None:
        raise InvalidKeyError(key)
    return int(match[1])


def runs_prefix(tenant: str) -> str:
    """Return the prefix of everything that a tenant's runs wrote."""
    return f"{tenant_prefix(tenant)}/runs"


def _run_prefix(tenant: str, run: str) -> str:
    return f"{runs_prefix(tenant)}/{parse_name(run, what='run')}"


def _by_digest(tenant: str, kind: str, digest: str) -> ObjectKey:
    # Two characters of fan-out keep folders small and spread S3's partitions.
    return ObjectKey(f"{tenant_prefix(tenant)}/{kind}/{_digest(digest)[:2]}/{digest}")


def _digest(digest: str) -> str:
    if not is_digest(digest):
        raise InvalidKeyError(str(digest))
    return digest


def _number(value: int, width: int) -> str:
    if not 0 <= value < 10**width:
        raise InvalidKeyError(str(value))
    return f"{value:0{width}d}"
