"""Asks the platform for kernels that are missing: one small object a blueprint, host kind and day, written once."""

from datetime import UTC, datetime

from morph_kernels.artifact.build_request import BuildRequest
from morph_kernels.artifact.target import Runtime
from morph_kernels.blueprint import Blueprint
from morph_kernels.cache.background import in_background
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.store_tier import StoreTier
from morph_kernels.cache.tier import GuardedTier
from morph_kernels.reasons import Reason

# What a new build would mend. Anything else is a matter of trust or of servers.
_MISSING = frozenset(
    {
        Reason.NO_INDEX,
        Reason.NO_VARIANT,
        Reason.NOT_FOUND,
        Reason.WRONG_ISA,
        Reason.WRONG_LIBC,
        Reason.TORCH_NOT_VALIDATED,
    }
)
_SECONDS = 10.0


class BuildRequests:
    """Leaves requests in the object store, behind the caller's back; each of them until it is heard."""

    def __init__(self, store: GuardedTier[StoreTier] | None, *, runtime: Runtime) -> None:
        self._store, self._runtime = store, runtime
        self._asked: set[str] = set()

    def ask(self, blueprint: Blueprint, reason: Reason) -> bool:
        """Ask for a kernel of the blueprint for this host, where a build could help; return whether it was asked."""
        if self._store is None or reason not in _MISSING:
            return False
        today = datetime.now(UTC).date().isoformat()
        request = BuildRequest(blueprint.digest, blueprint.name, self._runtime, today)
        key = request.digest
        if key in self._asked:
            return False
        self._asked.add(key)
        store = self._store

        def ask() -> None:
            answer = store.ask(lambda tier: tier.request_build(request), Deadline(_SECONDS))
            if isinstance(answer, Reason):
                # Nobody heard it, so the next load asks again.
                self._asked.discard(key)

        in_background(ask, name="morph-request")
        return True
