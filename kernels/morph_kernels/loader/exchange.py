"""Carries a boundary out: says what this rank could run, agrees with the others, exchanges bodies."""

from dataclasses import dataclass

import torch.distributed as dist

from morph_kernels.cache.deadline import Deadline
from morph_kernels.loader.boundary import EAGER, SlotState, gather_states, plan_exchange
from morph_kernels.loader.fetch import KernelFetcher
from morph_kernels.loader.module import KernelModule, alive_modules
from morph_kernels.loader.releases import Releases
from morph_kernels.loader.resolve import BodyResolver, Resolved
from morph_kernels.loader.slots import Slot
from morph_kernels.reasons import Reason


@dataclass(frozen=True)
class BoundaryReport:
    """The bodies that run from this boundary on, by slot, and how many were exchanged on this rank."""

    bodies: dict[str, str]
    exchanged: int


class Exchange:
    """One boundary on one rank. Only local tiers are asked, so it takes as long as the collective."""

    def __init__(self, releases: Releases, bodies: BodyResolver, fetcher: KernelFetcher, *, fetch_s: float) -> None:
        self._releases, self._bodies, self._fetcher, self._fetch_s = releases, bodies, fetcher, fetch_s
        self._ready: dict[str, Resolved] = {}

    def run(self, alive: list[tuple[Slot, KernelModule]], group: dist.ProcessGroup | None) -> BoundaryReport:
        """Agree with the other ranks and exchange bodies.

        Raises:
            BoundaryError: the ranks hold different slots; nothing was exchanged.
        """
        states = [self._propose(slot, module) for slot, module in alive]
        agreed = plan_exchange(gather_states(states, group))
        exchanged = 0
        for (slot, module), state in zip(alive, states, strict=True):
            if agreed[slot.name] != state.current:
                self._apply(slot, module, state, agreed[slot.name])
                exchanged += 1
        self._withdraw_from_copies({id(module) for _, module in alive})
        return BoundaryReport(agreed, exchanged)

    def _withdraw_from_copies(self, exchanged: set[int]) -> None:
        """Make copies run eager whose kernel was revoked. They never get a body here: ranks may hold different ones."""
        for module in alive_modules():
            body = module.digest
            if id(module) not in exchanged and body is not None and self._releases.is_revoked(module.blueprint, body):
                module.use_eager(Reason.REVOKED)

    def _apply(self, slot: Slot, module: KernelModule, state: SlotState, body: str) -> None:
        if body != EAGER:
            module.use_body(self._ready[slot.name].body, self._ready[slot.name].source)
        elif self._releases.is_revoked(module.blueprint, state.current):
            module.use_eager(Reason.REVOKED)
        else:
            # Another rank runs eager here, and all ranks run the same.
            module.use_eager(Reason.NOT_READY)

    def _propose(self, slot: Slot, module: KernelModule) -> SlotState:
        """Say what this rank runs in a slot and what it could run."""
        current = slot.current()
        if slot.pinned or module.reason is Reason.REQUESTED:
            return SlotState(slot.name, current, current, ready=True)
        if current == EAGER:
            return self._propose_for_eager(slot, module)
        if self._releases.is_revoked(module.blueprint, current):
            return SlotState(slot.name, current, EAGER, ready=True)
        return SlotState(slot.name, current, current, ready=True)

    def _propose_for_eager(self, slot: Slot, module: KernelModule) -> SlotState:
        wanted = self._bodies.choose(self._releases.usable_now(module.blueprint))
        if not wanted:
            return SlotState(slot.name, EAGER, _UNKNOWN, ready=False)
        found = self._bodies.resolve(wanted[0], Deadline(0), local_only=True)
        if isinstance(found, Resolved):
            self._ready[slot.name] = found
            return SlotState(slot.name, EAGER, wanted[0].kernel_digest, ready=True)
        self._fetcher.fetch_later(wanted[0], self._fetch_s)
        return SlotState(slot.name, EAGER, wanted[0].kernel_digest, ready=False)


# Wants no body that it knows of: no digest equals it, so nothing is exchanged on its account.
_UNKNOWN = "unknown"
