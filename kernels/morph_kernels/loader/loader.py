"""The loader: what training calls. It always answers, within one deadline, and never raises for a server's sake."""

import dataclasses
import threading
import time
import weakref
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import torch.distributed as dist

from morph_kernels.artifact.index import Variant
from morph_kernels.artifact.target import Runtime, current_runtime
from morph_kernels.blueprint import Blueprint
from morph_kernels.cache.background import in_background
from morph_kernels.cache.breaker import Breaker
from morph_kernels.cache.counts import Counts
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.cache.disk_tier import DiskTier
from morph_kernels.cache.first_calls import FirstCalls
from morph_kernels.cache.redis_tier import RedisTier
from morph_kernels.cache.store_tier import StoreTier
from morph_kernels.cache.tier import GuardedTier, TierT
from morph_kernels.errors import MorphError
from morph_kernels.identity import parse_ref
from morph_kernels.loader.boundary import EAGER
from morph_kernels.loader.exchange import BoundaryReport, Exchange
from morph_kernels.loader.fetch import KernelFetcher
from morph_kernels.loader.host_kernels import HostKernels
from morph_kernels.loader.host_trust import HostTrust
from morph_kernels.loader.index_cache import IndexCache
from morph_kernels.loader.index_watch import IndexWatch
from morph_kernels.loader.judge import Judge
from morph_kernels.loader.load_counts import LoadCounts
from morph_kernels.loader.module import KernelModule
from morph_kernels.loader.plan import RunPlan
from morph_kernels.loader.releases import Releases
from morph_kernels.loader.requests import BuildRequests
from morph_kernels.loader.resolve import BodyResolver, Resolved
from morph_kernels.loader.slots import Slots
from morph_kernels.reasons import Reason
from morph_kernels.settings import RuntimeSettings, read_settings

# A fetch that nobody waits for may take its time; it still ends.
_PATIENCE = 10


class PinnedBodyError(MorphError):
    """A body was demanded exactly, and this process cannot run it."""

    def __init__(self, name: str, body: str, reason: Reason) -> None:
        super().__init__(f"{name}: body {body} is not to be had here: {reason}")
        self.body, self.reason = body, reason


class KernelLoader:
    """Gives kernel modules to a training job: compiled if trusted and in time, eager otherwise.

    Without arguments it reads `MORPH_*` from the environment; keyword arguments override single settings.

    Args:
        settings: all settings at once.
        plan: a run plan, so that its refs need no server.
        runtime: what this process can run; found out where None.
        overrides: single fields of `RuntimeSettings`, such as `deadline_s=0.5`.
    """

    def __init__(
        self,
        settings: RuntimeSettings | None = None,
        *,
        plan: RunPlan | None = None,
        runtime: Runtime | None = None,
        **overrides: Any,
    ) -> None:
        """Open nothing yet: servers are connected to when one of them is first asked."""
        self.settings = dataclasses.replace(settings or read_settings(), **overrides)
        self._loads = LoadCounts()
        self._slots = Slots()
        tenant, redis, store = self.settings.tenant, self._redis_tier(), self._store_tier()
        # The nearer first.
        self._remote: list[GuardedTier[Any]] = [tier for tier in (redis, store) if tier is not None]
        folder = DiskFolder(self.settings.cache_dir, tenant=tenant)
        runtime, self._refused = runtime or current_runtime(), Counts()
        trust = HostTrust(self.settings, folder, self._refused)
        self._indexes = IndexCache(
            tenant=tenant,
            trust=trust.current,
            folder=folder,
            remote=self._remote,
            refresh_s=self.settings.refresh_s,
        )
        self._watch = None if redis is None or not trust.is_known else self._watch_indexes(redis)
        judge = Judge(tenant=tenant, trust=trust.current, runtime=runtime)
        disk = DiskTier(folder, budget_bytes=self.settings.disk_budget_bytes)
        self._host = HostKernels(disk, judge, self._refused)
        self._fetcher = KernelFetcher(self._host, judge, self._remote, self._refused)
        self._bodies = BodyResolver(
            self._host,
            self._fetcher,
            FirstCalls(folder, self._refused),
            trust=trust.current,
            runtime=runtime,
            library_cap=self.settings.library_cap,
            counts=self._refused,
        )
        self._releases = Releases(plan or RunPlan({}), self._indexes if trust.is_known else None)
        self._requests = BuildRequests(store, runtime=runtime)

    def load(self, what: str | Blueprint, *, seed: int = 0) -> KernelModule:
        """Return a module for a ref (`name@alias`) or a blueprint, compiled if that can be had within the deadline.

        It never communicates with other ranks; `at_boundary` does.

        Args:
            what: a ref, or the blueprint itself.
            seed: of the initial parameters; see `Blueprint.build`.

        Raises:
            BlueprintUnreachableError: a ref that nobody in reach knows. A blueprint never raises.
            InvalidNameError: the ref has no valid form.
        """
        started = time.perf_counter()
        deadline = Deadline(self.settings.deadline_s)
        blueprint, variants = self._releases.find(what, deadline)
        module = KernelModule(blueprint, seed=seed)
        outcome = variants if isinstance(variants, Reason) else self._resolve(variants, deadline)
        self._give(module, outcome)
        self._slots.add(module)
        if self._watch is not None:
            self._watch.start()
        build_s = outcome.build_s if isinstance(outcome, Resolved) else None
        self._loads.add(module.source, module.reason, time.perf_counter() - started, build_s=build_s)
        return module

    def load_pinned(self, blueprint: Blueprint, *, body: str, seed: int = 0) -> KernelModule:
        """Return a module that runs exactly this body (a kernel's digest, or "eager") and keeps it at boundaries.

        Raises:
            PinnedBodyError: the body cannot be run here.
        """
        module = KernelModule(blueprint, seed=seed)
        if body == EAGER:
            module.use_eager(Reason.PINNED)
        else:
            found = self._resolve_exactly(blueprint, body, Deadline(self.settings.deadline_s))
            if isinstance(found, Reason):
                raise PinnedBodyError(blueprint.name, body, found)
            reason = module.use_body(found.body, found.source)
            if reason is not None:
                raise PinnedBodyError(blueprint.name, body, reason)
        self._slots.add(module, pinned=True)
        return module

    def plan(self, refs: Iterable[str]) -> RunPlan:
        """Resolve refs to blueprints and kernels, once; a loader with the plan needs no server for them.

        Raises:
            BlueprintUnreachableError: a ref that nobody in reach knows.
        """
        parsed = [parse_ref(ref) for ref in refs]
        return RunPlan({ref: self._releases.plan(ref, Deadline(self.settings.deadline_s)) for ref in parsed})

    def prefetch(self, plan: RunPlan) -> threading.Thread | None:
        """Bring a plan's kernels onto this host's disk in the background; join the thread to wait for them.

        None where this process may start no more threads: then each load fetches its own.
        """
        wanted = [variant for kernel in plan.kernels.values() for variant in self._bodies.choose(kernel.variants)[:1]]

        def fetch() -> None:
            for variant in wanted:
                self._fetcher.fetch(variant, Deadline(_PATIENCE * self.settings.deadline_s))

        return in_background(fetch, name="morph-prefetch")

    def at_boundary(self, group: dist.ProcessGroup | None = None) -> BoundaryReport:
        """Exchange bodies where that is possible on all ranks; look for newer indexes behind training's back.

        With a `group` (gloo) it is one collective, and every rank must call it.

        Raises:
            BoundaryError: the ranks hold different modules.
        """
        alive = list(self._slots.alive())
        exchange = Exchange(self._releases, self._bodies, self._fetcher, fetch_s=_PATIENCE * self.settings.deadline_s)
        report = exchange.run(alive, group)
        names = sorted({module.blueprint.name for _, module in alive})
        self._indexes.refresh_later(names, seconds=self.settings.deadline_s)
        return report

    def stats(self) -> dict[str, Any]:
        """Return plain counts of this loader; `LoaderMetrics` shows the same to Prometheus.

        `loads` and `load_seconds` by source, or by why they are eager; `builds_saved` by loads that brought a compiled
        body into the process, and the `seconds_saved` so; what was `refused` and `evicted`, by tier; each tier's
        answers, bytes and breaker; index pushes; `calls` of modules that still live, by body or why eager.
        """
        calls: Counter[str] = Counter()
        for _, module in self._slots.alive():
            calls.update(module.calls)
        return {
            **self._loads.snapshot(),
            "evicted": dict(self._host.evicted.snapshot()),
            "refused": dict(self._refused.snapshot() + self._indexes.refused.snapshot()),
            "tiers": {
                tier.name: {**tier.counts.snapshot(), "breaker_open": tier.breaker.is_open} for tier in self._remote
            },
            "index_pushes": self._watch.snapshot() if self._watch is not None else {"listening": False},
            "calls": dict(calls),
        }

    def _give(self, module: KernelModule, outcome: Resolved | Reason) -> None:
        """Let a module run what was found for it."""
        if isinstance(outcome, Reason):
            module.use_eager(outcome)
            self._requests.ask(module.blueprint, outcome)
        elif module.use_body(outcome.body, outcome.source) is not None:
            # Vouched for, and yet it names tensors that this blueprint's module does not have.
            self._refused.add(f"process:{module.reason}")

    def _resolve(self, variants: Sequence[Variant], deadline: Deadline) -> Resolved | Reason:
        """Return the best body that can be had, or why none can."""
        reason: Reason | None = None
        for variant in self._bodies.choose(variants):
            found = self._bodies.resolve(variant, deadline)
            if isinstance(found, Resolved):
                return found
            reason = found
        return reason or self._bodies.why_none(variants)

    def _resolve_exactly(self, blueprint: Blueprint, body: str, deadline: Deadline) -> Resolved | Reason:
        _, variants = self._releases.find(blueprint, deadline)
        if isinstance(variants, Reason):
            return variants
        named = [variant for variant in variants if variant.kernel_digest == body]
        return self._resolve(named, deadline)

    def _redis_tier(self) -> GuardedTier[RedisTier] | None:
        url = self.settings.endpoints.redis_url
        return self._guard(RedisTier(url, tenant=self.settings.tenant)) if url else None

    def _watch_indexes(self, redis: GuardedTier[RedisTier]) -> IndexWatch:
        settings = self.settings
        watch = IndexWatch(redis.tier, self._indexes, refresh_s=settings.refresh_s, patience_s=settings.deadline_s)
        # The thread holds the indexes, not the loader; it ends with the loader, and at exit nobody waits for it.
        weakref.finalize(self, watch.stop).atexit = False
        return watch

    def _store_tier(self) -> GuardedTier[StoreTier] | None:
        settings = self.settings
        url = settings.endpoints.store_url
        return self._guard(StoreTier(url, tenant=settings.tenant, timeout_s=settings.deadline_s)) if url else None

    def _guard(self, tier: TierT) -> GuardedTier[TierT]:
        return GuardedTier(tier, breaker=Breaker(rest_s=self.settings.breaker_rest_s))
