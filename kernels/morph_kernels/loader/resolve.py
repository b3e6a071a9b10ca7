"""From a variant in a trusted index to a body in this process, nearest tier first, verified at every step."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from morph_kernels.artifact.bundle import KernelBundle, decode_bundle, encode_bundle
from morph_kernels.artifact.document import MalformedError
from morph_kernels.artifact.index import Variant
from morph_kernels.artifact.manifest import KernelManifest, LibraryRole
from morph_kernels.artifact.target import Runtime, incompatibility
from morph_kernels.artifact.trust import TrustPolicy
from morph_kernels.artifact.verify import Rejected, Verified, verify_kernel
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.disk_tier import DiskTier
from morph_kernels.cache.tier import GuardedTier
from morph_kernels.identity import KernelDigest
from morph_kernels.loader.body import BodyLoadError, CompiledBody, LibraryCapError, find_body, open_body
from morph_kernels.reasons import Reason

AnyTier = GuardedTier[Any]
# What a bundle may be larger than what it holds: its own head and the frame around it.
_FRAME_BYTES = 64 * 1024


@dataclass(frozen=True)
class Resolved:
    """A body and the tier it came from."""

    body: CompiledBody
    source: str


@dataclass(frozen=True)
class Found:
    """A kernel that was verified just now, with the tier it came from."""

    verified: Verified
    bundle: KernelBundle
    source: str


@dataclass(frozen=True)
class _OnDisk:
    """A kernel on this host whose bytes were verified just now."""

    manifest: KernelManifest
    libraries: Mapping[LibraryRole, Path]


class BodyResolver:
    """Finds, verifies and loads kernels; counts every outcome by tier and reason."""

    def __init__(
        self,
        *,
        tenant: str,
        trust: TrustPolicy,
        runtime: Runtime,
        disk: DiskTier,
        remote: Sequence[AnyTier],
        library_cap: int,
    ) -> None:
        self._tenant, self._trust, self._runtime = tenant, trust, runtime
        self._disk, self._remote, self._library_cap = disk, remote, library_cap
        self._background = threading.Lock()
        self._under_way: set[KernelDigest] = set()
        self.counts: Counter[str] = Counter()

    def choose(self, variants: Sequence[Variant]) -> list[Variant]:
        """Return the variants that this host can run, the one that gains most over eager first."""
        fitting = [variant for variant in variants if incompatibility(variant.target, self._runtime) is None]
        return sorted(fitting, key=lambda variant: (-variant.speed_ratio, variant.kernel_digest))

    def why_none(self, variants: Sequence[Variant]) -> Reason:
        """Return why `choose` returns nothing for these variants."""
        reasons = [incompatibility(variant.target, self._runtime) for variant in variants]
        return next((reason for reason in reasons if reason is not None), Reason.NO_VARIANT)

    def find_loaded(self, variant: Variant) -> Resolved | None:
        """Return the body if this process has it."""
        body = find_body(variant.kernel_digest)
        return Resolved(body, "process") if body is not None else None

    def fetch_later(self, variant: Variant, seconds: float) -> None:
        """Bring a variant onto this host's disk behind the caller's back; one thread a kernel at a time."""
        with self._background:
            if variant.kernel_digest in self._under_way:
                return
            self._under_way.add(variant.kernel_digest)

        def fetch() -> None:
            try:
                self.fetch(variant, Deadline(seconds))
            finally:
                with self._background:
                    self._under_way.discard(variant.kernel_digest)

        in_background(fetch)

    def resolve(self, variant: Variant, deadline: Deadline, *, local_only: bool = False) -> Resolved | Reason:
        """Return the body of a variant, or the last reason why no tier could give it."""
        loaded = self.find_loaded(variant)
        if loaded is not None:
            return loaded
        entry = self._find_on_disk(variant)
        if isinstance(entry, _OnDisk):
            return self._open(entry, "disk")
        if local_only:
            return entry
        found = self.fetch(variant, deadline)
        if isinstance(found, Reason):
            # Of several, damage on disk says more than an absent copy elsewhere.
            return entry if entry is not Reason.NOT_FOUND and found is Reason.NOT_FOUND else found
        fetched = self._find_on_disk(variant)
        return self._open(fetched, found) if isinstance(fetched, _OnDisk) else fetched

    def fetch(self, variant: Variant, deadline: Deadline) -> str | Reason:
        """Bring a variant onto this host's disk; return the tier it came from, or why it did not come.

        One process of a host fetches; the others wait for it, no longer than their deadline, and find it on disk.
        """
        if not self._remote:
            return Reason.NOT_FOUND
        try:
            with self._disk.fetching(variant.kernel_digest, deadline) as mine:
                if not mine:
                    return Reason.DEADLINE
                if isinstance(self._find_on_disk(variant), _OnDisk):
                    return "disk"
                return self._fetch_from_remote(variant, deadline)
        except OSError as error:
            self.counts[f"disk:{type(error).__name__}"] += 1
            return Reason.UNAVAILABLE

    def _fetch_from_remote(self, variant: Variant, deadline: Deadline) -> str | Reason:
        reason: Reason = Reason.NOT_FOUND
        missed: list[AnyTier] = []
        for tier in self._remote:
            found = self._ask(tier, variant, deadline)
            if isinstance(found, Found):
                self._disk.put(found.verified.manifest, found.bundle)
                self._backfill(missed, variant, found.bundle)
                return found.source
            missed.append(tier)
            reason = found if reason is Reason.NOT_FOUND or found is not Reason.NOT_FOUND else reason
        return reason

    def _ask(self, tier: AnyTier, variant: Variant, deadline: Deadline) -> Found | Reason:
        limit = variant.size_bytes + _FRAME_BYTES
        data = tier.ask(lambda remote: remote.find_bundle(variant.kernel_digest, max_bytes=limit), deadline)
        if data is None:
            return Reason.NOT_FOUND
        if isinstance(data, Reason):
            return data
        try:
            bundle = decode_bundle(data, max_bytes=limit)
        except MalformedError as error:
            return self._refuse(tier, variant, error.reason)
        verdict = self._verify(variant, bundle)
        if isinstance(verdict, Rejected):
            return self._refuse(tier, variant, verdict.reason)
        return Found(verdict, bundle, tier.name)

    def _refuse(self, tier: AnyTier, variant: Variant, reason: Reason) -> Reason:
        """Count what a tier holds wrongly and take it out of there, so that the next reader finds nothing or better."""
        self.counts[f"{tier.name}:{reason}"] += 1
        in_background(lambda: tier.ask(lambda remote: remote.drop_bundle(variant.kernel_digest), Deadline(2.0)))
        return reason

    def _find_on_disk(self, variant: Variant) -> "_OnDisk | Reason":
        """Return a verified entry, or why there is none; a damaged one is moved aside."""
        try:
            entry = self._disk.find(variant.kernel_digest)
            if entry is None:
                return Reason.NOT_FOUND
            verdict = self._verify(variant, entry.bundle)
            if isinstance(verdict, Verified):
                return _OnDisk(verdict.manifest, entry.libraries)
            self.counts[f"disk:{verdict.reason}"] += 1
            if verdict.reason in _DAMAGE:
                self._disk.quarantine(variant.kernel_digest, verdict.reason)
        except OSError as error:
            self.counts[f"disk:{type(error).__name__}"] += 1
            return Reason.UNAVAILABLE
        return verdict.reason

    def _verify(self, variant: Variant, bundle: KernelBundle) -> Verified | Rejected:
        return verify_kernel(
            bundle,
            variant.attestations,
            trust=self._trust,
            runtime=self._runtime,
            tenant=self._tenant,
            expected_digest=variant.kernel_digest,
            now=datetime.now(UTC),
        )

    def _open(self, entry: "_OnDisk", source: str) -> Resolved | Reason:
        """Load an entry that was verified just now into the process."""
        try:
            body = open_body(
                entry.manifest,
                forward=entry.libraries["forward"],
                backward=entry.libraries["backward"],
                cap=self._library_cap,
            )
        except LibraryCapError:
            return Reason.LIBRARY_CAP
        except BodyLoadError:
            self.counts[f"disk:{Reason.LOAD_FAILED}"] += 1
            return Reason.LOAD_FAILED
        return Resolved(body, source)

    def _backfill(self, tiers: Sequence[AnyTier], variant: Variant, bundle: KernelBundle) -> None:
        """Give the kernel to nearer tiers that lacked it, behind the caller's back."""
        caches = [tier for tier in tiers if tier.name != "store" and not tier.breaker.is_open]
        if not caches:
            return

        def fill() -> None:
            data = encode_bundle(bundle)
            for tier in caches:
                tier.ask(lambda remote: remote.put_bundle(variant.kernel_digest, data), Deadline(2.0))

        in_background(fill)


def in_background(work: Callable[[], object]) -> None:
    """Run best-effort work on a thread that nobody waits for."""
    threading.Thread(target=work, name="morph-background", daemon=True).start()


# A wrong digest or form means damage; a foreign machine or an untrusted key leaves the bytes as good as they were.
_DAMAGE = frozenset({Reason.DIGEST_MISMATCH, Reason.MALFORMED, Reason.TOO_LARGE})
