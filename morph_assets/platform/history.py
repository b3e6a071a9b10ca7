"""What happened: the log, its proof, lineage, runs and counts."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from morph_assets.observability.counts import PlatformCounts
from morph_assets.platform.connected import Connected
from morph_assets.registry.checkpoints import RunRecord, list_runs
from morph_assets.registry.events import LOG, SECURITY, EventCursor
from morph_assets.registry.lineage import ImpactedSubject
from morph_assets.registry.replay.check import ReplayCheck, check_replay
from morph_assets.usecases.anchor_log import AnchoredLog, anchor_log
from morph_assets.usecases.archive_log import ArchivedLog, archive_log
from morph_assets.usecases.assess_impact import assess_impact
from morph_assets.usecases.collect_counts import collect_counts
from morph_assets.usecases.export_audit import ExportRange, export_audit
from morph_assets.usecases.find_commits import FoundCommits, find_commits
from morph_assets.usecases.follow_events import FollowedEvents, follow_events
from morph_assets.usecases.plan_failed_logins import FailedLogins
from morph_assets.usecases.read_body import read_body
from morph_assets.usecases.record_failed_logins import record_failed_logins
from morph_assets.usecases.summarise_audit import AuditSummary, summarise_audit
from morph_assets.usecases.trace_asset import TracedLineage, trace_asset
from morph_assets.usecases.verify_audit import VerifiedAudit, parse_head, verify_audit
from morph_kernels.identity import BlobDigest


class History(Connected):
    """The log, its proof, and what can be read from it."""

    def trace(self, what: str, *, as_of: int | datetime | None = None, max_depth: int = 6) -> TracedLineage:
        """Return what something came from and what came of it, now, after an event, or at a moment."""
        return trace_asset(self.connections, what, as_of=as_of, max_depth=max_depth)

    def impact(self, what: str) -> list[ImpactedSubject]:
        """Return what breaks if a kernel is revoked."""
        return assess_impact(self.connections, what)

    def list_runs(self, *, limit: int = 500) -> list[RunRecord]:
        """Return the training runs, newest first."""
        return list_runs(self.connections.registry("platform"), limit=limit)

    def active_runs(self) -> list[str]:
        """Return the runs whose writer is alive: the partitions of checkpoints there should be."""
        return [run.run for run in list_runs(self.connections.registry("platform")) if run.active]

    def commits_after(self, cursor: EventCursor | None, *, limit: int = 100) -> FoundCommits:
        """Return the checkpoints committed after a cursor, and the next cursor."""
        return find_commits(self.connections, cursor, limit=limit)

    def follow_events(self, cursor: EventCursor, *, types: Sequence[str], limit: int = 100) -> FollowedEvents:
        """Return the next events of the types in the registry's log, and the place to go on from."""
        return follow_events(self.connections, cursor, types=types, limit=limit)

    def counts(self) -> PlatformCounts:
        """Return the whole platform's counts at this moment."""
        return collect_counts(self.connections)

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
