"""The public face of the platform: every use case as one method, for assets, notebooks and the command line."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from morph_assets.config import PlatformConfig
from morph_assets.connections import Connections
from morph_assets.observability.counts import PlatformCounts
from morph_assets.registry.aliases import AliasMove
from morph_assets.registry.blueprints import ReleaseRecord, SubmittedRelease, list_blueprints
from morph_assets.registry.checkpoints import RunRecord, list_runs
from morph_assets.registry.events import LOG, SECURITY, EventCursor
from morph_assets.registry.kernels import KernelRecord, list_kernels
from morph_assets.registry.lineage import ImpactedSubject
from morph_assets.registry.pins import PinRecord, list_pins
from morph_assets.registry.quotas import QuotaRecord, list_quotas
from morph_assets.registry.removal import DEFAULT_GRACE_S
from morph_assets.registry.replay.check import ReplayCheck, check_replay
from morph_assets.registry.retention import PolicyKind, PolicyRecord, list_policies
from morph_assets.registry.search import KernelPage, KernelQuery, search_kernels
from morph_assets.registry.usage import UsageGroup, UsageSum
from morph_assets.usecases.adopt_blueprint import adopt_blueprint
from morph_assets.usecases.anchor_log import AnchoredLog, anchor_log
from morph_assets.usecases.approve_kernel import approve_kernel
from morph_assets.usecases.archive_log import ArchivedLog, archive_log
from morph_assets.usecases.assess_impact import assess_impact
from morph_assets.usecases.collect_counts import collect_counts
from morph_assets.usecases.compile_kernel import CompiledKernel, compile_kernel
from morph_assets.usecases.count_builds import count_builds
from morph_assets.usecases.curate_kernels import CurationReport, curate_kernels
from morph_assets.usecases.decline_kernel import decline_kernel
from morph_assets.usecases.evaluate_kernel import EvaluatedKernel, evaluate_kernel
from morph_assets.usecases.evict_cache import EvictionReport, evict_cache
from morph_assets.usecases.explain_load import LoadExplanation, explain_load
from morph_assets.usecases.export_audit import ExportRange, export_audit
from morph_assets.usecases.export_kernels import export_kernels
from morph_assets.usecases.find_commits import FoundCommits, find_commits
from morph_assets.usecases.find_kernel import find_kernel
from morph_assets.usecases.find_signature_problem import find_signature_problem
from morph_assets.usecases.find_stale_indexes import find_stale_indexes
from morph_assets.usecases.follow_events import FollowedEvents, follow_events
from morph_assets.usecases.freeze_alias import freeze_alias
from morph_assets.usecases.import_kernels import ImportedKernels, import_kernels
from morph_assets.usecases.list_library import list_library
from morph_assets.usecases.measure_caches import CacheState, measure_caches
from morph_assets.usecases.pin_asset import pin_asset
from morph_assets.usecases.plan_failed_logins import FailedLogins
from morph_assets.usecases.plan_scrub import ScrubPlace, ScrubPlan, plan_scrub
from morph_assets.usecases.promote_release import promote_release
from morph_assets.usecases.publish_blueprint import publish_blueprint
from morph_assets.usecases.publish_index import publish_index
from morph_assets.usecases.publish_kernel import PublishedKernel, publish_kernel
from morph_assets.usecases.purge_kernel import PurgedKernel, purge_kernel
from morph_assets.usecases.quarantine_kernel import quarantine_kernel
from morph_assets.usecases.read_body import read_body
from morph_assets.usecases.record_failed_logins import record_failed_logins
from morph_assets.usecases.relay_indexes import RelayedIndexes, relay_indexes
from morph_assets.usecases.restore_kernel import restore_kernel
from morph_assets.usecases.retire_kernel import retire_kernel
from morph_assets.usecases.revoke_kernel import revoke_kernel
from morph_assets.usecases.rollback_alias import rollback_alias
from morph_assets.usecases.scrub_artifacts import ScrubReport, scrub_artifacts
from morph_assets.usecases.set_policy import set_policy
from morph_assets.usecases.set_quota import set_quota
from morph_assets.usecases.show_blueprint import ShownBlueprint, show_blueprint
from morph_assets.usecases.show_usage import show_usage
from morph_assets.usecases.submit_blueprint import submit_blueprint
from morph_assets.usecases.summarise_audit import AuditSummary, summarise_audit
from morph_assets.usecases.trace_alias import trace_alias
from morph_assets.usecases.trace_asset import TracedLineage, trace_asset
from morph_assets.usecases.unfreeze_alias import unfreeze_alias
from morph_assets.usecases.unpin_asset import unpin_asset
from morph_assets.usecases.verify_audit import VerifiedAudit, parse_head, verify_audit
from morph_assets.usecases.verify_kernel import verify_kernel
from morph_assets.usecases.warm_cache import WarmedCache, warm_cache
from morph_kernels.artifact.trust_policy import TrustPolicy
from morph_kernels.artifact.verify import Verdict
from morph_kernels.blueprint import Blueprint
from morph_kernels.identity import BlobDigest, BuildKey, KernelDigest


class Platform:
    """One tenant's platform.

    Threads may share it. Everything that it opens, it opens when first used, and again after `close`. Errors are
    `MorphError`s that say in one line what to do.
    """

    def __init__(self, connections: Connections) -> None:
        self.connections = connections

    @classmethod
    def connect(cls, config: PlatformConfig | None = None) -> Self:
        """Return the platform that the environment names, or the one of the nearest `.morph` folder.

        Raises:
            PlatformDownError: there is none: run `morph up`.
            SettingsError: its endpoints file is damaged.
        """
        return cls(Connections.open(config))

    def close(self) -> None:
        """Give every connection back and end the signers."""
        self.connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def submit_blueprint(
        self, source: Blueprint | Path | str, *, tags: Sequence[str] = (), author: str | None = None
    ) -> SubmittedRelease:
        """Release a blueprint, given as such, as a yaml file or as yaml text."""
        return submit_blueprint(self.connections, source, tags=tags, author=author)

    def adopt_blueprint(self, name: str) -> ReleaseRecord:
        """Return the newest release of the name; a shipped blueprint that has none is released now."""
        return adopt_blueprint(self.connections, name)

    def list_blueprints(self) -> list[ReleaseRecord]:
        """Return the newest release of every name that is in use."""
        return list_blueprints(self.connections.registry("platform"))

    def show_blueprint(self, name: str) -> ShownBlueprint:
        """Return a blueprint's design, releases and kernels."""
        return show_blueprint(self.connections, name)

    def list_kernels(self, *, states: Sequence[str] = ()) -> list[KernelRecord]:
        """Return the kernels in these states, or all of them, fastest against eager first."""
        return list_kernels(self.connections.registry("platform"), states=states)

    def search(self, query: KernelQuery, *, limit: int = 20, cursor: str | None = None) -> KernelPage:
        """Return the best validated kernels for a query, each with the reason for its place, page by page."""
        return search_kernels(self.connections.registry("controller"), query, limit=limit, cursor=cursor)

    def find_kernel(self, what: str) -> KernelRecord:
        """Return the kernel with a digest, or the newest of `name`, `name@3` or `name@production`."""
        return find_kernel(self.connections, what)

    def import_kernels(self, lines: Iterable[bytes], *, bundles: Path | None = None) -> ImportedKernels:
        """Take in the kernels of an exported manifest, each judged by its signatures."""
        return import_kernels(self.connections, lines, bundles=bundles)

    def export_kernels(self, *, bundles: Path | None = None) -> Iterator[bytes]:
        """Yield the manifest of every validated kernel, line by line."""
        return export_kernels(self.connections, bundles=bundles)

    def compile_kernel(self, name: str, *, version: int | None = None, pipeline: str = "standard") -> CompiledKernel:
        """Return the kernel of a release, compiled now if nobody compiled it before."""
        return compile_kernel(self.connections, name, version=version, pipeline=pipeline)

    def evaluate_kernel(self, what: str) -> EvaluatedKernel:
        """Return the verdict on a kernel under this host's runtime, measured now if nobody did before."""
        return evaluate_kernel(self.connections, what)

    def publish(self, source: Blueprint | Path | str, *, alias: str = "production") -> PublishedKernel:
        """Submit, compile, evaluate and publish; raises `KernelRejectedError` with the evaluation if it failed."""
        return publish_blueprint(self.connections, source, alias=alias)

    def publish_kernel(self, name: str, *, alias: str = "production") -> PublishedKernel:
        """Publish the validated kernels of the newest release and point the alias at it."""
        return publish_kernel(self.connections, name, alias=alias)

    def publish_index(self, name: str) -> int:
        """Publish the next generation of a name's index."""
        return publish_index(self.connections, name)

    def relay_indexes(self) -> RelayedIndexes:
        """Publish every index that is behind the registry's log."""
        return relay_indexes(self.connections)

    def stale_indexes(self) -> tuple[str, ...]:
        """Return the names whose index a relay would publish anew."""
        return find_stale_indexes(self.connections)

    def promote(self, ref: str, alias: str = "production") -> int:
        """Point an alias at a published release; return the index generation that says so."""
        return promote_release(self.connections, ref, alias)

    def rollback_alias(self, name: str, alias: str = "production") -> int:
        """Point an alias back at its release before; return that release's version."""
        return rollback_alias(self.connections, name, alias)

    def trace_alias(self, name: str, alias: str = "production", *, at: datetime | None = None) -> list[AliasMove]:
        """Return the moves of an alias, oldest first, or the one that held at a moment."""
        return trace_alias(self.connections, name, alias, at=at)

    def freeze_alias(self, name: str, alias: str, *, reason: str) -> bool:
        """Let an alias move no more until it is unfrozen."""
        return freeze_alias(self.connections, name, alias, reason=reason)

    def unfreeze_alias(self, name: str, alias: str, *, reason: str) -> bool:
        """Let a frozen alias move again."""
        return unfreeze_alias(self.connections, name, alias, reason=reason)

    def pin(self, subject: str, *, reason: str, until: datetime | None = None) -> None:
        """Keep a kernel, a release or a checkpoint from being removed."""
        pin_asset(self.connections, subject, reason=reason, until=until)

    def unpin(self, subject: str, *, reason: str) -> bool:
        """Take a pin away."""
        return unpin_asset(self.connections, subject, reason=reason)

    def list_pins(self) -> list[PinRecord]:
        """Return what is pinned, why and until when."""
        return list_pins(self.connections.registry("platform"))

    def retire_kernel(self, digest: KernelDigest, *, reason: str, grace_s: int = DEFAULT_GRACE_S) -> None:
        """Take a kernel out of use; within the grace it can be restored."""
        retire_kernel(self.connections, digest, reason=reason, grace_s=grace_s)

    def restore_kernel(self, digest: KernelDigest, *, reason: str) -> str:
        """Bring a retired kernel back; return its state."""
        return restore_kernel(self.connections, digest, reason=reason)

    def purge_kernel(self, digest: KernelDigest) -> PurgedKernel:
        """Remove a retired kernel for good, and leave a proof of it."""
        return purge_kernel(self.connections, digest)

    def curate_kernels(self, *, dry_run: bool = False) -> CurationReport:
        """Retire what a policy takes, and remove what nobody brought back in time."""
        return curate_kernels(self.connections, dry_run=dry_run)

    def list_policies(self) -> list[PolicyRecord]:
        """Return the rules by which kernels go."""
        return list_policies(self.connections.registry("platform"))

    def set_policy(
        self,
        name: str,
        kind: PolicyKind,
        parameters: Mapping[str, Any],
        *,
        grace_s: int = DEFAULT_GRACE_S,
        enabled: bool = True,
    ) -> PolicyRecord:
        """Make or change a rule by which kernels go."""
        return set_policy(self.connections, name, kind, parameters, grace_s=grace_s, enabled=enabled)

    def approve_kernel(self, digest: KernelDigest, *, reason: str) -> None:
        """Let a speculative kernel be published."""
        approve_kernel(self.connections, digest, reason=reason)

    def decline_kernel(self, digest: KernelDigest, *, reason: str) -> None:
        """Keep a speculative kernel from being published."""
        decline_kernel(self.connections, digest, reason=reason)

    def show_usage(self, *, by: UsageGroup = "tenant", since: datetime | None = None) -> list[UsageSum]:
        """Return what was used, metered up to the last full hour."""
        return show_usage(self.connections, by=by, since=since)

    def list_quotas(self) -> list[QuotaRecord]:
        """Return what the tenant may use, and what it does."""
        return list_quotas(self.connections.registry("platform"))

    def set_quota(self, resource: str, hard_limit: int, *, reason: str) -> int:
        """Lower a limit as the tenant's admin; return the one before."""
        return set_quota(self.connections, resource, hard_limit, reason=reason)

    def quarantine_kernel(self, digest: KernelDigest, reason: str) -> None:
        """Take a kernel out of service until it is evaluated again."""
        quarantine_kernel(self.connections, digest, reason)

    def revoke_kernel(self, digest: KernelDigest, reason: str) -> None:
        """Take a kernel out of service for good."""
        revoke_kernel(self.connections, digest, reason)

    def verify_kernel(self, what: str) -> Verdict:
        """Return whether this host may run the store's copy of a kernel, and if not, why."""
        return verify_kernel(self.connections, what)

    def signature_problem(self, what: str) -> str | None:
        """Return why nobody trusted vouches for the bytes in the store, or None."""
        return find_signature_problem(self.connections, what)

    def trace(self, what: str, *, as_of: int | datetime | None = None, max_depth: int = 6) -> TracedLineage:
        """Return what something came from and what came of it, now, after an event, or at a moment."""
        return trace_asset(self.connections, what, as_of=as_of, max_depth=max_depth)

    def impact(self, what: str) -> list[ImpactedSubject]:
        """Return what breaks if a kernel is revoked."""
        return assess_impact(self.connections, what)

    def why(self, ref: str) -> LoadExplanation:
        """Say what a loader of this host would get for a ref, and why."""
        return explain_load(self.connections, ref)

    def cache_state(self) -> CacheState:
        """Return what each tier holds, against what it may hold."""
        return measure_caches(self.connections)

    def evict_cache(self, tier: str, *, budget_bytes: int | None = None, dry_run: bool = False) -> EvictionReport:
        """Bring this host's disk or Redis within its budget."""
        return evict_cache(self.connections, tier, budget_bytes=budget_bytes, dry_run=dry_run)

    def warm_cache(self, refs: Iterable[str]) -> WarmedCache:
        """Put the published kernels of each ref, and their indexes, into Redis."""
        return warm_cache(self.connections, refs)

    def scrub_artifacts(self, *, after: KernelDigest | None = None, limit: int = 50) -> ScrubReport:
        """Read the next stored kernels back, tier by tier, and mend what is damaged."""
        return scrub_artifacts(self.connections, after=after, limit=limit)

    def plan_scrub(self, place: ScrubPlace, *, limit: int) -> ScrubPlan:
        """Return which kernels the next scrub should read, and what scrubs have given up since the place."""
        return plan_scrub(self.connections, place, limit=limit)

    def library_rows(self) -> list[dict[str, Any]]:
        """Return one row for each kernel, for a pandas frame."""
        return list_library(self.connections)

    def commits_after(self, cursor: EventCursor | None, *, limit: int = 100) -> FoundCommits:
        """Return the checkpoints committed after a cursor, and the next cursor."""
        return find_commits(self.connections, cursor, limit=limit)

    def arrivals(self) -> list[str]:
        """Return the names of the blueprints in use: the partitions there should be."""
        return [release.name for release in self.list_blueprints()]

    def active_runs(self) -> list[str]:
        """Return the runs whose writer is alive: the partitions of checkpoints there should be."""
        return [run.run for run in list_runs(self.connections.registry("platform")) if run.active]

    def counts(self) -> PlatformCounts:
        """Return the whole platform's counts at this moment."""
        return collect_counts(self.connections)

    def count_builds(self, build_key: BuildKey) -> int:
        """Return how many compiler runs of the build key gave a kernel."""
        return count_builds(self.connections, build_key)

    def follow_events(self, cursor: EventCursor, *, types: Sequence[str], limit: int = 100) -> FollowedEvents:
        """Return the next events of the types in the registry's log, and the place to go on from."""
        return follow_events(self.connections, cursor, types=types, limit=limit)

    def list_runs(self, *, limit: int = 500) -> list[RunRecord]:
        """Return the training runs, newest first."""
        return list_runs(self.connections.registry("platform"), limit=limit)

    def check_registry(self) -> ReplayCheck:
        """Repeat the whole log and compare the outcome with the tables."""
        store = self.connections.store
        return check_replay(
            self.connections.registry("auditor"), lambda tenant, digest: read_body(store, tenant, BlobDigest(digest))
        )

    def verify_audit(self, *, expected_head: str | None = None, since_anchor: bool = False) -> VerifiedAudit:
        """Recompute the chains, and hold them against anchors, archive, bodies and a head (`SEQ:HASH`) if given."""
        expected = None if expected_head is None else parse_head(expected_head)
        return verify_audit(self.connections, expected=expected, since_anchor=since_anchor)

    def archive_audit(self) -> ArchivedLog:
        """Bring what is not yet there of the log into the object store."""
        return archive_log(self.connections)

    def anchor_audit(self) -> AnchoredLog:
        """Sign where all chains stand and put it into the object store."""
        return anchor_log(self.connections)

    def iter_audit(
        self,
        wanted: ExportRange = ExportRange(),  # noqa: B008 - frozen
        *,
        chain: Literal["log", "security"] = "log",
    ) -> Iterator[dict[str, Any]]:
        """Yield the events of the log, or of the chain of refusals, oldest first, as plain data."""
        return export_audit(self.connections, wanted, chain=LOG if chain == "log" else SECURITY)

    def summarise_audit(self) -> AuditSummary:
        """Verify the whole log and sum it up."""
        return summarise_audit(self.connections)

    def record_failed_logins(self, log: Path | None = None) -> list[FailedLogins]:
        """Bring the failed logins that the server's log knows of into the chain of refusals."""
        return record_failed_logins(self.connections, log)

    def trust(self) -> TrustPolicy:
        """Return whose signatures are believed now."""
        return self.connections.trust()
