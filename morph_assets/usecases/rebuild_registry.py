"""Writes a lost registry anew from what lies in the object store: the archived log, its bodies, the commit records."""

from dataclasses import dataclass
from datetime import UTC, datetime

from morph_assets.connections import Connections
from morph_assets.progress import Progress
from morph_assets.registry.audit.anchor import verify_anchor
from morph_assets.registry.audit.assembly import ArchiveBrokenError
from morph_assets.registry.audit.row import EventRow, record_of
from morph_assets.registry.errors import RegistryError
from morph_assets.registry.events import LOG, SECURITY, EventCursor
from morph_assets.registry.rebuild import Rebuild, open_rebuild
from morph_assets.registry.tenants import create_tenant
from morph_assets.usecases.find_anchors import find_anchors
from morph_assets.usecases.find_operator_access import OperatorAccess
from morph_assets.usecases.plan_recovery import (
    RecoveryPlan,
    RefusedRecord,
    commit_facts,
    plan_recovery,
    unknown_kernels,
)
from morph_assets.usecases.read_archive import iter_records, read_archived_chain, read_manifest
from morph_assets.usecases.read_body import read_body
from morph_kernels.artifact.verdict import Rejected
from morph_kernels.checkpoint.record import CommitRecord
from morph_kernels.errors import MorphError
from morph_kernels.identity import BlobDigest, ObjectKey
from morph_kernels.store import ObjectStore, open_store
from morph_kernels.store.keys import timeline_of

_STORE_TIMEOUT_S = 30.0


class NothingArchivedError(MorphError):
    """The store holds no log of the tenant: there is nothing to rebuild from."""


@dataclass(frozen=True)
class RebuiltRegistry:
    """What a tenant's registry holds again.

    Attributes:
        recovered: checkpoints that were acknowledged but not yet archived.
        given_up: commit records that an earlier restore left behind.
        refused: commit records behind the archived log that no trusted trainer signed, or that are damaged.
    """

    tenant: str
    timeline: int
    events: int
    rows: int
    recovered: tuple[str, ...]
    given_up: tuple[ObjectKey, ...]
    refused: tuple[RefusedRecord, ...]


def rebuild_registry(connections: Connections, access: OperatorAccess, progress: Progress) -> RebuiltRegistry:
    """Rebuild the environment's tenant into a registry in which nothing happened yet, and begin a new timeline.

    Every event's hash, every body's digest, the auditor's newest anchor and the trainers' signatures of commit records
    are checked. It is one transaction: the registry holds everything afterwards, or what it held before.

    Args:
        connections: of the empty registry, with the trust file by which anchors and commit records are judged.
        access: the operator's, to write as the schema's owner.
        progress: opens a bar, `progress(text, total=)`, which is told `advance(count)`.

    Raises:
        NothingArchivedError: the store holds no log of the tenant.
        ArchiveBrokenError: the archive has a hole, or ends before the newest anchor.
        BodyDamagedError: a body is damaged or gone.
        NotEmptyError: the registry has a history of its own.
    """
    tenant, store = connections.tenant, open_store(access.store_url, timeout_s=_STORE_TIMEOUT_S)
    log = _read_log(connections, store, progress)
    refusals = read_archived_chain(store, tenant, SECURITY, progress)
    timeline = _next_timeline(store, log[-1].timeline)
    create_tenant(access.morph_url, tenant, {})
    with open_rebuild(access.morph_url, tenant, lambda digest: read_body(store, tenant, BlobDigest(digest))) as rebuild:
        with progress("repeating the log", total=None):
            rebuild.begin([record_of(row) for row in log], [record_of(row) for row in refusals])
            rebuild.start_timeline(timeline)
        records = iter_records(store, tenant, trust=connections.trust(), now=datetime.now(UTC))
        plan = plan_recovery(records, rebuild.state, EventCursor(log[-1].timeline, log[-1].seq))
        _commit_again(rebuild, store, plan, progress)
        with progress("writing tables", total=None):
            rebuilt = rebuild.finish()
    return RebuiltRegistry(
        tenant=tenant,
        timeline=timeline,
        events=rebuilt.events,
        rows=rebuilt.rows,
        recovered=tuple(str(record.checkpoint) for record in plan.recovered),
        given_up=tuple(record.key for record in plan.given_up),
        refused=plan.refused,
    )


def _read_log(connections: Connections, store: ObjectStore, progress: Progress) -> list[EventRow]:
    log = read_archived_chain(store, connections.tenant, LOG, progress)
    if not log:
        raise NothingArchivedError(
            f"the store holds no log of tenant {connections.tenant}: there is nothing to rebuild from"
        )
    _require_anchored(connections, log)
    return log


def _require_anchored(connections: Connections, log: list[EventRow]) -> None:
    """Refuse an archive that ends before, or differs at, the newest head that the auditor signed."""
    anchors = find_anchors(connections)
    if not anchors:
        return
    newest = anchors[max(anchors)]
    verdict = verify_anchor(newest.envelope, number=newest.number, trust=connections.trust(), now=datetime.now(UTC))
    if isinstance(verdict, Rejected):
        raise ArchiveBrokenError(f"anchor {newest.number} is not the auditor's: {verdict.reason}: {verdict.detail}")
    head = verdict.head_of(connections.tenant)
    if head is not None and head.seq and (len(log) < head.seq or log[head.seq - 1].hash != head.hash):
        raise ArchiveBrokenError(f"the archive does not hold event {head.seq}, which anchor {newest.number} covers")


def _next_timeline(store: ObjectStore, archived: int) -> int:
    known = (number for info in store.list_objects("") if (number := timeline_of(info.key)) is not None)
    return max([archived, *known]) + 1


def _commit_again(rebuild: Rebuild, store: ObjectStore, plan: RecoveryPlan, progress: Progress) -> None:
    with progress("committing checkpoints that were not archived", total=len(plan.recovered)) as advance:
        for record in plan.recovered:
            facts = _facts_of(rebuild, store, record)
            rebuild.append("checkpoint.committed", f"checkpoint/{record.checkpoint}", facts)
            advance(1)


def _facts_of(rebuild: Rebuild, store: ObjectStore, record: CommitRecord) -> dict[str, object]:
    facts = commit_facts(record, read_manifest(store, record))
    unknown = unknown_kernels(facts, rebuild.state)
    if unknown:
        raise RegistryError(f"{record.key} needs kernel {unknown[0]}, which the archived log does not tell of")
    if (record.run,) not in rebuild.state.tables["run"]:
        rebuild.append("run.opened", f"run/{record.run}", {"run": record.run, "recovered_from": record.key})
    return facts
