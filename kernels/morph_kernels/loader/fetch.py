"""Brings kernels onto this host from the tiers beyond it, once a host, each tier with its share of the time."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from morph_kernels.artifact.bundle import KernelBundle, decode_bundle, encode_bundle
from morph_kernels.artifact.document import MalformedError
from morph_kernels.artifact.index import Variant
from morph_kernels.artifact.manifest import KernelManifest, LibraryRole
from morph_kernels.cache.background import in_background
from morph_kernels.cache.counts import Counts
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.tier import GuardedTier, iter_shares
from morph_kernels.identity import KernelDigest
from morph_kernels.loader.host_kernels import HostKernels, OnDisk
from morph_kernels.loader.judge import Judge, Refused
from morph_kernels.reasons import Reason

AnyTier = GuardedTier[Any]
# What a bundle may be larger than what it holds: its own head and the frame around it.
_FRAME_BYTES = 64 * 1024
_MEND_S = 2.0


@dataclass(frozen=True)
class Found:
    """A kernel that was verified just now, with the tier it came from."""

    manifest: KernelManifest
    bundle: KernelBundle
    source: str

    @property
    def libraries(self) -> Mapping[LibraryRole, bytes]:
        """The libraries themselves."""
        return self.bundle.libraries


@dataclass(frozen=True)
class Fetched:
    """A kernel that was verified just now, on this host's disk or in memory, and the tier it came from."""

    kernel: OnDisk | Found
    source: str


class KernelFetcher:
    """Fetches, verifies and keeps; mends nearer caches that lacked a kernel or held a damaged one."""

    def __init__(self, host: HostKernels, judge: Judge, remote: Sequence[AnyTier], counts: Counts) -> None:
        self._host, self._judge, self._remote, self._counts = host, judge, remote, counts
        self._lock = threading.Lock()
        self._under_way: set[KernelDigest] = set()

    def fetch(self, variant: Variant, deadline: Deadline) -> Fetched | Reason:
        """Bring a variant onto this host's disk, or into memory where the disk does not take it.

        One process of a host fetches and the others wait for it to find it on disk, but not for one that was stopped.
        """
        if not self._remote:
            return Reason.NOT_FOUND
        with self._host.fetching(variant, deadline.part(0.5)) as unusable:
            here = self._host.find(variant) if unusable is None else unusable
            if isinstance(here, OnDisk):
                return Fetched(here, "disk")
            started = time.monotonic()
            found = self._ask_all(variant, deadline)
            if isinstance(found, Refused):
                return found.reason
            fetch_s = time.monotonic() - started
            if unusable is None:
                here = self._host.keep(
                    variant, found.manifest, found.bundle, fetch_s=fetch_s, deadline=deadline.part(0.5)
                )
            return Fetched(here if isinstance(here, OnDisk) else found, found.source)

    def fetch_later(self, variant: Variant, seconds: float) -> None:
        """Bring a variant onto this host's disk behind the caller's back; one thread a kernel at a time."""
        with self._lock:
            if variant.kernel_digest in self._under_way:
                return
            self._under_way.add(variant.kernel_digest)

        def fetch() -> None:
            try:
                self.fetch(variant, Deadline(seconds))
            finally:
                self._forget(variant)

        if in_background(fetch) is None:
            self._forget(variant)

    def _forget(self, variant: Variant) -> None:
        with self._lock:
            self._under_way.discard(variant.kernel_digest)

    def _ask_all(self, variant: Variant, deadline: Deadline) -> Found | Refused:
        last = Refused(Reason.NOT_FOUND)
        missed: list[AnyTier] = []
        damaged: list[AnyTier] = []
        for tier, share in iter_shares(self._remote, deadline):
            found = self._ask(tier, variant, share)
            if isinstance(found, Found):
                self._fill(missed, variant, found.bundle)
                return found
            missed.append(tier)
            if found.damaged:
                damaged.append(tier)
            last = last if found.reason is Reason.NOT_FOUND else found
            if not found.is_mendable:
                break
        self._drop(damaged, variant)
        return last

    def _ask(self, tier: AnyTier, variant: Variant, deadline: Deadline) -> Found | Refused:
        limit = variant.size_bytes + _FRAME_BYTES
        data = tier.ask(lambda remote: remote.find_bundle(variant.kernel_digest, max_bytes=limit), deadline)
        if data is None:
            return Refused(Reason.NOT_FOUND)
        if isinstance(data, Reason):
            return Refused(data)
        try:
            bundle = decode_bundle(data, max_bytes=limit)
        except MalformedError as error:
            judged: KernelManifest | Refused = Refused(error.reason, damaged=True)
        else:
            judged = self._judge.judge(variant, bundle)
        if isinstance(judged, Refused):
            self._counts.add(f"{tier.name}:{judged.reason}")
            return judged
        return Found(judged, bundle, tier.name)

    def _fill(self, tiers: Sequence[AnyTier], variant: Variant, bundle: KernelBundle) -> None:
        """Give the kernel to nearer caches that lacked it, or put it over a damaged one, behind the caller's back."""
        caches = [tier for tier in tiers if tier.name != "store" and not tier.breaker.is_open]

        def fill() -> None:
            data = encode_bundle(bundle)
            for tier in caches:
                tier.ask(lambda remote: remote.put_bundle(variant.kernel_digest, data), Deadline(_MEND_S))

        if caches:
            in_background(fill)

    def _drop(self, tiers: Sequence[AnyTier], variant: Variant) -> None:
        """Take damaged bytes out of caches where nobody had better ones, so that the next reader is not held up."""

        def drop() -> None:
            for tier in tiers:
                tier.ask(lambda remote: remote.drop_bundle(variant.kernel_digest), Deadline(_MEND_S))

        if tiers:
            in_background(drop)
