"""Checks that the cache of this host does what it is there for: one can be installed, and hit, and save nothing."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from morph_assets.usecases.advise_load import advise_load
from morph_assets.usecases.diagnose_machine import Finding
from morph_kernels.artifact.roles import Role
from morph_kernels.artifact.trust import TrustPolicy, load_trust
from morph_kernels.cache.counts import Counts
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.disk_folder import DiskFolder
from morph_kernels.cache.redis_tier import RedisTier
from morph_kernels.cache.store_tier import StoreTier
from morph_kernels.cache.tier import GuardedTier, RemoteTier
from morph_kernels.errors import MorphError
from morph_kernels.loader.host_trust import HostTrust
from morph_kernels.reasons import Reason
from morph_kernels.settings import RuntimeSettings

if TYPE_CHECKING:
    from morph_kernels.loader import KernelLoader

# Which blueprint is asked for to hear whether a tier answers at all.
_NOBODY = "morph-doctor"
_NEEDED = (Role.COMPILER, Role.EVALUATOR, Role.PUBLISHER)
_MOST_NAMES = 50
_PATIENCE = 5


def diagnose_cache(settings: RuntimeSettings, refs: Sequence[str] = ()) -> tuple[Finding, ...]:
    """Ask everything that a loader asks, then load each ref twice: the second time must come from this host's disk.

    It needs no database, and leaves the kernels on this host's disk.

    Args:
        settings: those of training.
        refs: what to load; by default production of what the store has an index of, at most 50 names.
    """
    findings = [_trust(settings), _folder(settings), *_tiers(settings)]
    try:
        wanted = list(refs) or _published(settings)
    except MorphError as error:
        return (*findings, Finding("kernels", ok=False, detail=str(error), advice="name the refs to try"))
    if not wanted:
        nothing = Finding("kernels", ok=False, detail="nothing is published", advice=advise_load(Reason.NO_INDEX))
        return (*findings, nothing)
    return (*findings, *_loads(settings, wanted))


def _trust(settings: RuntimeSettings) -> Finding:
    what, path = "trusted keys", settings.endpoints.trust_file
    if path is None:
        return Finding(what, ok=False, detail="no trust file is named", advice=advise_load(Reason.NO_TRUST))
    try:
        trust = load_trust(path, root_pin=settings.endpoints.trust_root)
    except MorphError as error:
        return Finding(what, ok=False, detail=str(error), advice=advise_load(Reason.NO_TRUST))
    believed = HostTrust(settings, DiskFolder(settings.cache_dir, tenant=settings.tenant), Counts()).current()
    if believed.version > trust.version:
        detail = f"{path} is version {trust.version}, and this host has seen version {believed.version}"
        return Finding(what, ok=False, detail=detail, advice=advise_load(Reason.TRUST_ROLLED_BACK))
    missing = [role for role in _NEEDED if not trust.keys_of(role)]
    if missing:
        detail = f"{path} has no key of the {', '.join(missing)}"
        return Finding(what, ok=False, detail=detail, advice=advise_load(Reason.NO_TRUST))
    return _development(trust, settings)


def _development(trust: TrustPolicy, settings: RuntimeSettings) -> Finding:
    marked = [key.role for role in _NEEDED for key in trust.keys_of(role) if key.development]
    if marked and not settings.allow_development_keys:
        detail = f"development keys of the {', '.join(marked)}, which this host does not believe"
        return Finding("trusted keys", ok=False, detail=detail, advice=advise_load(Reason.DEVELOPMENT_KEY))
    return Finding("trusted keys", ok=True, detail=f"{len(trust.keys)} keys, version {trust.version}")


def _folder(settings: RuntimeSettings) -> Finding:
    what, advice = "cache folder", advise_load(Reason.DISK_UNUSABLE)
    try:
        with DiskFolder(settings.cache_dir, tenant=settings.tenant).writing("kernels") as kernels:
            found = os.statvfs(kernels)
    except OSError as error:
        return Finding(what, ok=False, detail=f"{settings.cache_dir}: {error}", advice=advice)
    free, budget = found.f_bavail * found.f_frsize, settings.disk_budget_bytes
    detail = f"{settings.cache_dir}: {free / 1024**3:.1f} GiB free, at most {budget / 1024**3:.1f} are used"
    return Finding(what, ok=free > 0 and budget > 0, detail=detail, advice=advice)


def _tiers(settings: RuntimeSettings) -> Iterator[Finding]:
    redis, store = settings.endpoints.redis_url, settings.endpoints.store_url
    if redis is not None:
        yield _tier(RedisTier(redis, tenant=settings.tenant), settings)
    if store is None:
        advice = "name the store that the platform publishes to: MORPH_STORE_URL"
        yield Finding("tier store", ok=False, detail="none is named", advice=advice)
        return
    yield _tier(_store_of(settings, store), settings)


def _tier(tier: RemoteTier, settings: RuntimeSettings) -> Finding:
    started = time.monotonic()
    answer = GuardedTier(tier).ask(lambda asked: asked.find_index(_NOBODY), Deadline(settings.deadline_s))
    taken_ms = (time.monotonic() - started) * 1e3
    if isinstance(answer, Reason):
        return Finding(
            f"tier {tier.name}", ok=False, detail=f"{answer} in {taken_ms:.0f} ms", advice=advise_load(answer)
        )
    return Finding(f"tier {tier.name}", ok=True, detail=f"answers, the first time in {taken_ms:.0f} ms")


def _store_of(settings: RuntimeSettings, url: str) -> StoreTier:
    return StoreTier(url, tenant=settings.tenant, timeout_s=_PATIENCE * settings.deadline_s)


def _published(settings: RuntimeSettings) -> list[str]:
    """Return the refs of what the store has an index of; without a store nothing is known to be published."""
    url = settings.endpoints.store_url
    return [] if url is None else list(_store_of(settings, url).blueprints())[:_MOST_NAMES]


def _loads(settings: RuntimeSettings, refs: Sequence[str]) -> Iterator[Finding]:
    from morph_kernels.loader import KernelLoader

    patient = replace(settings, deadline_s=_PATIENCE * settings.deadline_s)
    first, second = KernelLoader(patient), KernelLoader(settings)
    for ref in refs:
        yield _load(ref, first, second)


def _load(ref: str, first: "KernelLoader", second: "KernelLoader") -> Finding:
    """Load through two loaders: bodies of the first are unproven to the second, which therefore reads the disk."""
    what = f"kernel {ref}"
    try:
        got = first.load(ref)
        started = time.monotonic()
        again = second.load(ref)
    except MorphError as error:
        return Finding(what, ok=False, detail=str(error), advice=advise_load(getattr(error, "reason", Reason.NO_INDEX)))
    if again.reason is not None:
        return Finding(what, ok=False, detail=f"eager: {again.reason}", advice=advise_load(again.reason))
    taken_ms = (time.monotonic() - started) * 1e3
    detail = f"from {got.source}, then from {again.source} in {taken_ms:.1f} ms"
    return Finding(what, ok=again.source == "disk", detail=detail, advice=advise_load(Reason.DISK_UNUSABLE))
