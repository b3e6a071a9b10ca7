"""Saves and restores one run: the face of this package."""

import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import torch.distributed as dist

from morph_kernels.artifact.signing import KeySigner
from morph_kernels.canonical import canonical_bytes
from morph_kernels.checkpoint.commit import (
    Acknowledgement,
    Destination,
    Position,
    StagedSave,
    commit_save,
    ensure_record,
)
from morph_kernels.checkpoint.environment import current_environment
from morph_kernels.checkpoint.lease import KeptLease, open_when_free
from morph_kernels.checkpoint.ledger import CheckpointLedger, CommittedCheckpoint, RunLease
from morph_kernels.checkpoint.rank_part import read_rank_part
from morph_kernels.checkpoint.ranks import Ranks, RanksDisagreeError
from morph_kernels.checkpoint.restore import RestoreReport, apply_checkpoint, load_checkpoint
from morph_kernels.checkpoint.retry import persist
from morph_kernels.checkpoint.selector import (
    LATEST,
    NoCheckpointError,
    Selector,
    Sought,
    format_selector,
    parse_selector,
    seek,
)
from morph_kernels.checkpoint.snapshot import bytes_tensor, read_snapshot
from morph_kernels.checkpoint.staging import Arena
from morph_kernels.checkpoint.state import Bodies, TrainingState
from morph_kernels.identity import parse_name
from morph_kernels.store import ObjectStore


class SaveHandle:
    """A save on its way."""

    def __init__(self, outcome: "Future[Acknowledgement] | None", ranks: Ranks) -> None:
        self._outcome = outcome
        self._ranks = ranks
        self.observed = False

    def wait(self) -> Acknowledgement:
        """Return once the save is acknowledged. With several ranks every rank waits, or none.

        Raises:
            MorphError: the save failed; nothing of it is visible.
        """
        self.observed = True
        facts = json.loads(self._ranks.broadcast(self._ranks.together(self._answer)))
        return Acknowledgement(UUID(facts["id"]), facts["seq"], facts["bytes"])

    def settle(self) -> BaseException | None:
        """Wait without asking the other ranks; return the error that nobody has seen yet."""
        error = None if self._outcome is None else self._outcome.exception()
        return None if self.observed else error

    def _answer(self) -> bytes:
        if self._outcome is None:
            return b""
        done = self._outcome.result()
        return canonical_bytes({"id": str(done.checkpoint), "seq": done.sequence, "bytes": done.new_bytes})


@dataclass
class _Place:
    """Where the next commit goes; only the coordinator has one."""

    head: UUID | None
    parent: UUID | None = None


class Checkpointer:
    """Saves and restores one branch of one run, for one process or for all ranks of a gloo group.

    The first save or restore takes the run over: whatever process held it before can commit nothing more. `save`
    copies, and returns; a writer thread does the rest, one save at a time. Use it from one thread.

    Args:
        run: the run's name; whoever saves under it takes it over.
        store: where tensors, manifests and commit records go.
        ledger: what decides which checkpoints exist.
        branch: of the run.
        tenant: to whom the run belongs.
        controller_version: of the policy that grows the network; it stands in every checkpoint.
        group: the gloo group of all ranks, or None for one process.
        lease_ttl_s: after how many seconds without a sign of life another process may take the run over.
        signer: the trainer's key (`load_signer(settings.endpoints.trainer_key)`). Without one a checkpoint is as good,
            but a registry that was lost with its last log cannot be told of it: nothing unsigned is believed then.
    """

    def __init__(
        self,
        *,
        run: str,
        store: ObjectStore,
        ledger: CheckpointLedger,
        branch: str = "main",
        tenant: str = "default",
        controller_version: str = "0",
        group: dist.ProcessGroup | None = None,
        lease_ttl_s: float = 6.0,
        signer: KeySigner | None = None,
    ) -> None:
        parse_name(run, what="run")
        parse_name(branch, what="branch")
        self._to = Destination(store, ledger, tenant, run, branch, signer)
        self._controller_version = controller_version
        self._lease_ttl_s = lease_ttl_s
        self._ranks = Ranks(group)
        self._arena = Arena()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="morph-checkpoint")
        self._last: SaveHandle | None = None
        self._place: _Place | None = None
        self._lease: KeptLease | None = None

    def save(self, state: TrainingState, *, epoch: int, step: int) -> SaveHandle:
        """Copy the state and begin to write it; the tensors may change as soon as this returns.

        A collective with several ranks: all save or none.

        Raises:
            RanksDisagreeError: the ranks are not at the same epoch, step and controller version.
            MorphError: the state cannot be saved, or the save before this one failed and nobody waited for it.
        """
        self._raise_unseen()
        parts = self._ranks.gather(self._ranks.together(lambda: self._own_part(state, epoch, step)))
        _check_agreement(parts)
        outcome = self._ranks.together(lambda: self._begin(state, [_payload(part) for part in parts], epoch, step))
        self._last = SaveHandle(outcome, self._ranks)
        return self._last

    def restore(
        self, state: TrainingState, *, selector: Selector | str = LATEST, bodies: Bodies = "available"
    ) -> RestoreReport:
        """Bring the state to a committed checkpoint; the next save becomes its child.

        `selector` says which, also of another branch or run: `latest`, `epoch:12`, `run@step:900`, `tag:best`, a time,
        an id; `checkpoint.selector` has them all. A collective with several ranks.

        Raises:
            SelectorError: the selector is none.
            NoCheckpointError: there is no such checkpoint.
            CheckpointDamagedError: stored bytes differ; the state is untouched.
            StateMismatchError: the state does not fit; no tensor was touched.
            BodyUnavailableError: `bodies="pinned"`, and a body cannot be had.
        """
        self._raise_unseen()
        committed = self._select(selector)
        report = self._ranks.together(lambda: self._apply(state, committed, bodies))
        self._ranks.together(lambda: self._note(committed))
        return report

    def fork(self, branch: str, selector: Selector | str = LATEST) -> CommittedCheckpoint:
        """Begin another branch of the run at a checkpoint, and copy nothing.

        A `Checkpointer` of that branch goes on there, once this one is closed. A collective, as all that follow.

        Raises:
            HeadMovedError: the branch is there already, with another head.
            NoCheckpointError: there is no such checkpoint.
        """
        parse_name(branch, what="branch")
        return self._change(selector, lambda _, lease, chosen: self._to.ledger.fork(lease, branch, chosen))

    def rollback(self, selector: Selector | str) -> CommittedCheckpoint:
        """Let a checkpoint be the head of this branch again; the next save becomes its child.

        Nothing is deleted: what came after it can be listed and restored as before. The training state stays as it is;
        `restore` brings it there.

        Raises:
            NoCheckpointError: there is no such checkpoint, or the branch has none yet.
            LeaseLostError: another process took the run over.
        """
        return self._change(selector, self._move_head)

    def tag(self, tag: str, selector: Selector | str = LATEST, *, move: bool = False) -> CommittedCheckpoint:
        """Give a checkpoint a name within the run, for `tag:<name>`.

        Raises:
            TagTakenError: the tag names another checkpoint, and `move` is false.
            NoCheckpointError: there is no such checkpoint.
        """
        parse_name(tag, what="tag")
        return self._change(selector, lambda _, lease, chosen: self._to.ledger.tag(lease, tag, chosen, move=move))

    def pin(self, selector: Selector | str, reason: str, *, until: datetime | None = None) -> CommittedCheckpoint:
        """Keep a checkpoint from every policy, up to a time or until it is unpinned.

        Raises:
            NoCheckpointError: there is no such checkpoint.
            LedgerError: somebody else pinned it, or the time is over already.
        """
        return self._change(
            selector, lambda _, lease, chosen: self._to.ledger.pin(lease, chosen, reason=reason, until=until)
        )

    def unpin(self, selector: Selector | str, reason: str) -> CommittedCheckpoint:
        """Let the pin of a checkpoint go, if it has one.

        Raises:
            NoCheckpointError: there is no such checkpoint.
            LedgerError: somebody else pinned it.
        """
        return self._change(selector, lambda _, lease, chosen: self._to.ledger.unpin(lease, chosen, reason=reason))

    def close(self) -> None:
        """Finish the save that is under way, stop the writer and give the run back.

        Raises:
            MorphError: that save failed and nobody waited for it.
        """
        self._writer.shutdown(wait=True)
        if self._lease is not None:
            self._lease.close()
        self._raise_unseen()

    def _own_part(self, state: TrainingState, epoch: int, step: int) -> bytes:
        head = canonical_bytes({"epoch": epoch, "step": step, "controller": self._controller_version})
        return head + b"\n" + read_rank_part(state.data)

    def _begin(
        self, state: TrainingState, parts: list[bytes], epoch: int, step: int
    ) -> "Future[Acknowledgement] | None":
        if not self._ranks.coordinates:
            return None
        place, lease = self._open()
        snapshot = read_snapshot(state)
        ranks = {f"rank/{rank}": bytes_tensor(part) for rank, part in enumerate(parts)}
        save = StagedSave(
            snapshot=snapshot,
            tensors=self._arena.stage({**snapshot.tensors, **ranks}),
            environment=current_environment(),
            epoch=epoch,
            step=step,
            controller_version=self._controller_version,
            world_size=self._ranks.size,
        )
        return self._writer.submit(self._write, save, place, lease)

    def _write(self, save: StagedSave, place: _Place, lease: RunLease) -> Acknowledgement:
        done = commit_save(save, self._to, Position(lease, place.head, place.parent))
        place.head = place.parent = done.checkpoint
        return done

    def _open(self) -> tuple[_Place, RunLease]:
        """Take the run over, once: fence first, then look, so that nothing is committed in between."""
        if self._place is None or self._lease is None:
            ledger, run, branch = self._to.ledger, self._to.run, self._to.branch
            self._lease = KeptLease(open_when_free(ledger, run, ttl_s=self._lease_ttl_s), ledger, self._lease_ttl_s)
            newest = persist(lambda: ledger.find(run, branch, 1))
            if newest:
                ensure_record(newest[0], self._to, timeline=self._lease.lease.timeline)
            # After a rollback or a fork the head is not what was saved last.
            head = persist(lambda: ledger.resolve(Sought(run, branch)))
            self._place = _Place(None if head is None else head.checkpoint)
        return self._place, self._lease.lease

    def _select(self, selector: Selector | str) -> CommittedCheckpoint:
        found = self._ranks.together(lambda: self._find(selector))
        return CommittedCheckpoint.from_bytes(self._ranks.broadcast(found))

    def _find(self, selector: Selector | str) -> bytes:
        if not self._ranks.coordinates:
            return b""
        wanted = parse_selector(selector) if isinstance(selector, str) else selector
        self._open()
        found = persist(lambda: self._to.ledger.resolve(seek(wanted, run=self._to.run, branch=self._to.branch)))
        if found is None:
            place = f"branch {self._to.branch} of run {self._to.run}"
            raise NoCheckpointError(f"seen from {place}, there is no checkpoint {format_selector(wanted)}")
        return found.to_bytes()

    def _change(
        self, selector: Selector | str, change: Callable[[_Place, RunLease, UUID], object]
    ) -> CommittedCheckpoint:
        """Select once nothing is being saved, then let the coordinator change the ledger."""
        self._raise_unseen()
        committed = self._select(selector)
        self._ranks.together(lambda: self._carry_out(change, committed.checkpoint))
        return committed

    def _carry_out(self, change: Callable[[_Place, RunLease, UUID], object], chosen: UUID) -> None:
        if self._ranks.coordinates:
            place, lease = self._open()
            persist(lambda: change(place, lease, chosen))

    def _move_head(self, place: _Place, lease: RunLease, chosen: UUID) -> None:
        if place.head is None:
            raise NoCheckpointError(f"branch {self._to.branch} of run {self._to.run} has no checkpoint to go back from")
        self._to.ledger.move_head(lease, self._to.branch, chosen, expected_head=place.head)
        place.head = place.parent = chosen

    def _apply(self, state: TrainingState, committed: CommittedCheckpoint, bodies: Bodies) -> RestoreReport:
        loaded = load_checkpoint(committed, self._to)
        return apply_checkpoint(state, loaded, rank=self._ranks.rank, world_size=self._ranks.size, bodies=bodies)

    def _note(self, restored: CommittedCheckpoint) -> None:
        if self._place is not None and self._lease is not None:
            self._place.parent = restored.checkpoint
            lease = self._lease.lease
            persist(lambda: self._to.ledger.note_restore(lease, restored.checkpoint))

    def _raise_unseen(self) -> None:
        last, self._last = self._last, None
        self._ranks.agree(None if last is None else last.settle())


def _payload(part: bytes) -> bytes:
    return part.partition(b"\n")[2]


def _check_agreement(parts: list[bytes]) -> None:
    heads = [part.partition(b"\n")[0].decode() for part in parts]
    if len(set(heads)) > 1:
        raise RanksDisagreeError(f"the ranks are at different points: {heads}")
