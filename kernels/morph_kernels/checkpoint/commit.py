"""One save, from staged bytes to acknowledged: pack, manifest, commit, record, in this order.

Before the commit a crash leaves orphans that nothing names. After it the checkpoint exists, and `ensure_record` makes
up for a record that was not written.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID, uuid4

from morph_kernels.artifact.signing import KeySigner
from morph_kernels.checkpoint.journal import EAGER
from morph_kernels.checkpoint.ledger import (
    BlobNotLiveError,
    CheckpointLedger,
    CommitRequest,
    CommittedCheckpoint,
    RunLease,
)
from morph_kernels.checkpoint.manifest import CheckpointManifest, Environment, TensorEntry, manifest_digest
from morph_kernels.checkpoint.packs import PackPlan, blob_digest, fill_pack, plan_pack
from morph_kernels.checkpoint.record import MAX_RECORD_BYTES, CommitRecord
from morph_kernels.checkpoint.retry import persist
from morph_kernels.checkpoint.snapshot import Snapshot
from morph_kernels.checkpoint.staging import StagedTensor
from morph_kernels.errors import MorphError
from morph_kernels.identity import ObjectKey
from morph_kernels.store import ObjectStore, keys

_ATTEMPTS = 4


class ObjectTakenError(MorphError):
    """A key that only this save can know holds other bytes."""


@dataclass(frozen=True)
class Destination:
    """Where a run's checkpoints go, and whose key says that they were committed."""

    store: ObjectStore
    ledger: CheckpointLedger
    tenant: str
    run: str
    branch: str
    signer: KeySigner | None = None


@dataclass(frozen=True)
class StagedSave:
    """Everything of one save that no longer depends on the training process."""

    snapshot: Snapshot
    tensors: Mapping[str, StagedTensor]
    environment: Environment
    epoch: int
    step: int
    controller_version: str
    world_size: int


@dataclass(frozen=True)
class Position:
    """Where a commit goes: under which lease, after which head, as whose child."""

    lease: RunLease
    head: UUID | None
    parent: UUID | None


@dataclass(frozen=True)
class Acknowledgement:
    """The checkpoint is committed and recorded: whatever dies now, it can be restored."""

    checkpoint: UUID
    sequence: int
    new_bytes: int


def commit_save(save: StagedSave, to: Destination, position: Position) -> Acknowledgement:
    """Write, commit and record one save.

    Raises:
        LeaseLostError: another process took the run over.
        HeadMovedError: the branch has another head.
        MorphError: the store or the ledger did not answer within the retries.
    """
    digests = {name: blob_digest(tensor.data) for name, tensor in save.tensors.items()}
    blobs = {digest: save.tensors[name].data for name, digest in digests.items()}
    for attempt in range(_ATTEMPTS):
        try:
            return _attempt(save, to, position, digests, blobs)
        except BlobNotLiveError:
            # A blob went between the question and the commit: ask again, and write it again if it is gone.
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def _attempt(
    save: StagedSave,
    to: Destination,
    position: Position,
    digests: Mapping[str, str],
    blobs: Mapping[str, memoryview],
) -> Acknowledgement:
    checkpoint = uuid4()
    pack_key = keys.pack_key(to.tenant, to.run, str(uuid4()))
    live = persist(lambda: to.ledger.live_blobs(tuple(blobs)))
    plan = plan_pack({digest: len(data) for digest, data in blobs.items()}, live, pack_key)
    if plan.new:
        pack = fill_pack(plan, blobs)
        persist(lambda: _put(to.store, pack_key, pack))
    manifest = build_manifest(
        save, to=to, parent=position.parent, checkpoint=checkpoint, digests=digests, plan=plan
    ).to_bytes()
    manifest_key = keys.checkpoint_manifest_key(to.tenant, to.run, str(checkpoint))
    persist(lambda: _put(to.store, manifest_key, manifest))
    request = CommitRequest(
        checkpoint=checkpoint,
        lease=position.lease,
        branch=to.branch,
        parent=position.parent,
        epoch=save.epoch,
        step=save.step,
        controller_version=save.controller_version,
        world_size=save.world_size,
        manifest_digest=manifest_digest(manifest),
        manifest_key=manifest_key,
        blobs=plan.locations,
        own_pack=pack_key if plan.new else "",
        kernels=tuple(sorted({graft.body for graft in save.snapshot.grafts} - {EAGER})),
        expected_head=position.head,
    )
    return _commit(request, to, new_bytes=plan.size_bytes)


def _commit(request: CommitRequest, to: Destination, *, new_bytes: int) -> Acknowledgement:
    # The same id each time: an answer that got lost is not a second checkpoint.
    receipt = persist(lambda: to.ledger.commit(request), unless=BlobNotLiveError)
    committed = CommittedCheckpoint(
        checkpoint=request.checkpoint,
        parent=request.parent,
        epoch=request.epoch,
        step=request.step,
        manifest_digest=request.manifest_digest,
        manifest_key=request.manifest_key,
        sequence=receipt.sequence,
        recorded_at="",
    )
    ensure_record(committed, to, timeline=request.lease.timeline)
    return Acknowledgement(request.checkpoint, receipt.sequence, new_bytes)


def build_manifest(
    save: StagedSave,
    *,
    to: Destination,
    parent: UUID | None,
    checkpoint: UUID,
    digests: Mapping[str, str],
    plan: PackPlan,
) -> CheckpointManifest:
    """Return the manifest of a save whose blobs have their places."""
    entries = {
        name: TensorEntry(tensor.dtype, tensor.shape, digests[name], len(tensor.data))
        for name, tensor in save.tensors.items()
    }
    shared = save.snapshot
    return CheckpointManifest(
        checkpoint=checkpoint,
        run=to.run,
        branch=to.branch,
        parent=parent,
        epoch=save.epoch,
        step=save.step,
        controller_version=save.controller_version,
        world_size=save.world_size,
        environment=save.environment,
        tensors=entries,
        blobs=plan.locations,
        trainable=shared.trainable,
        model_extra=shared.model_extra,
        optimizer=shared.optimizer,
        parts=shared.parts,
        seeds=shared.seeds,
        grafts=shared.grafts,
        journal=shared.journal,
    )


def ensure_record(committed: CommittedCheckpoint, to: Destination, *, timeline: int) -> None:
    """Put the commit record into the store unless it is there, so that a lost ledger can be written anew.

    Raises:
        ObjectTakenError: another commit has the record's place.
    """
    record = CommitRecord(
        tenant=to.tenant,
        run=to.run,
        branch=to.branch,
        checkpoint=committed.checkpoint,
        parent=committed.parent,
        epoch=committed.epoch,
        step=committed.step,
        manifest_digest=committed.manifest_digest,
        manifest_key=keys.parse_key(committed.manifest_key),
        timeline=timeline,
        sequence=committed.sequence,
    )
    data = record.to_bytes(to.signer)
    if persist(lambda: to.store.put_if_absent(record.key, data)):
        return
    if not record.is_told_by(persist(lambda: to.store.get(record.key, max_bytes=MAX_RECORD_BYTES))):
        raise ObjectTakenError(f"{record.key} records another commit than {committed.checkpoint}")


def _put(store: ObjectStore, key: ObjectKey, data: bytes | memoryview) -> None:
    # A key is new for each attempt, so one that is taken is our own put whose answer got lost. Sizes tell the rest.
    if not store.put_if_absent(key, data) and store.size(key) != len(data):
        raise ObjectTakenError(f"{key} holds other bytes than this save wrote")
