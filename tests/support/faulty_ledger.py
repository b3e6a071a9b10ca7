"""A ledger that fails when told to, and otherwise keeps every promise of the one it wraps."""

from dataclasses import dataclass, field

from morph_kernels.checkpoint import CheckpointLedger
from morph_kernels.checkpoint.ledger import BlobLocation, LedgerUnavailableError


@dataclass
class FaultyLedger:
    """Counts down failures, each set by a test.

    Attributes:
        down_calls: how many calls from now on find the server gone.
        lost_answers: how many commits and changes of the history happen, and their answer gets lost.
        stale_blobs: blobs that are said to be live once, and are not.
    """

    inner: CheckpointLedger
    down_calls: int = 0
    lost_answers: int = 0
    stale_blobs: dict[str, BlobLocation] = field(default_factory=dict)

    def _reach(self):
        if self.down_calls:
            self.down_calls -= 1
            raise LedgerUnavailableError("the server is gone")
        return self.inner

    def _lose(self, answer):
        if self.lost_answers:
            self.lost_answers -= 1
            raise LedgerUnavailableError("the answer got lost")
        return answer

    def open_run(self, run, *, holder, ttl_s):
        return self._reach().open_run(run, holder=holder, ttl_s=ttl_s)

    def renew(self, lease, *, ttl_s):
        self.inner.renew(lease, ttl_s=ttl_s)

    def release(self, lease):
        self.inner.release(lease)

    def live_blobs(self, digests):
        stale, self.stale_blobs = self.stale_blobs, {}
        return {**self._reach().live_blobs(digests), **{d: p for d, p in stale.items() if d in digests}}

    def commit(self, request):
        return self._lose(self._reach().commit(request))

    def note_restore(self, lease, checkpoint):
        self._reach().note_restore(lease, checkpoint)

    def find(self, run, branch, limit):
        return self._reach().find(run, branch, limit)

    def resolve(self, sought):
        return self._reach().resolve(sought)

    def fork(self, lease, branch, checkpoint):
        self._lose(self._reach().fork(lease, branch, checkpoint))

    def move_head(self, lease, branch, checkpoint, *, expected_head):
        self._lose(self._reach().move_head(lease, branch, checkpoint, expected_head=expected_head))

    def tag(self, lease, tag, checkpoint, *, move):
        self._lose(self._reach().tag(lease, tag, checkpoint, move=move))

    def pin(self, lease, checkpoint, *, reason, until):
        self._lose(self._reach().pin(lease, checkpoint, reason=reason, until=until))

    def unpin(self, lease, checkpoint, *, reason):
        return self._lose(self._reach().unpin(lease, checkpoint, reason=reason))

    def blobs(self, checkpoint):
        return self._reach().blobs(checkpoint)
