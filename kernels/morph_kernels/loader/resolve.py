"""From a variant in a trusted index to a body in this process, nearest tier first, verified at every step."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from morph_kernels.artifact.build_cost import build_seconds
from morph_kernels.artifact.index import Variant
from morph_kernels.artifact.target import Runtime, incompatibility
from morph_kernels.artifact.trust_policy import TrustPolicy
from morph_kernels.cache.counts import Counts
from morph_kernels.cache.deadline import Deadline
from morph_kernels.cache.first_calls import FirstCalls
from morph_kernels.identity import KernelDigest
from morph_kernels.loader.body import BodyLoadError, CompiledBody, LibraryCapError, find_body, open_body
from morph_kernels.loader.fetch import Found, KernelFetcher
from morph_kernels.loader.host_kernels import HostKernels, OnDisk
from morph_kernels.reasons import Reason


@dataclass(frozen=True)
class Resolved:
    """A body and the tier it came from; what it took to build, where it was brought into this process just now."""

    body: CompiledBody
    source: str
    build_s: float | None = None


class BodyResolver:
    """Finds bodies in this process, on this host and beyond; counts every outcome by tier and reason."""

    def __init__(
        self,
        host: HostKernels,
        fetcher: KernelFetcher,
        first_calls: FirstCalls,
        *,
        trust: Callable[[], TrustPolicy],
        runtime: Runtime,
        library_cap: int,
        counts: Counts,
    ) -> None:
        self._host, self._fetcher, self._runtime, self._library_cap = host, fetcher, runtime, library_cap
        self._first_calls, self._trust, self._counts = first_calls, trust, counts
        # What was verified for this tenant, and by whose keys; another loader of the process may have others.
        self._vouched: dict[KernelDigest, TrustPolicy] = {}

    def choose(self, variants: Sequence[Variant]) -> list[Variant]:
        """Return the variants that this host can run and did not die of, the one that gains most over eager first."""
        fitting = [variant for variant in variants if incompatibility(variant.target, self._runtime) is None]
        # What this process has loaded it need not look for among what others died of.
        unknown = any(find_body(variant.kernel_digest) is None for variant in fitting)
        barred = self._first_calls.barred() if unknown else frozenset()
        if any(variant.kernel_digest in barred for variant in fitting):
            self._counts.add(f"disk:{Reason.CRASHED_HERE}")
            fitting = [variant for variant in fitting if variant.kernel_digest not in barred]
        return sorted(fitting, key=lambda variant: (-variant.speed_ratio, variant.kernel_digest))

    def why_none(self, variants: Sequence[Variant]) -> Reason:
        """Return why `choose` returns nothing for these variants."""
        reasons = [incompatibility(variant.target, self._runtime) for variant in variants]
        if None in reasons:
            return Reason.CRASHED_HERE
        return next((reason for reason in reasons if reason is not None), Reason.NO_VARIANT)

    def resolve(self, variant: Variant, deadline: Deadline, *, local_only: bool = False) -> Resolved | Reason:
        """Return the body of a variant, or the last reason why no tier could give it."""
        # Before anything is judged: were a key revoked meanwhile, it is judged again the next time.
        trust = self._trust()
        loaded = self._find_loaded(variant, trust)
        if loaded is not None:
            return loaded
        entry = self._host.find(variant)
        if isinstance(entry, OnDisk):
            return self._open(variant, entry, "disk", trust)
        if local_only or not entry.is_mendable:
            return entry.reason
        found = self._fetcher.fetch(variant, deadline)
        if isinstance(found, Reason):
            # Of several, damage on disk says more than an absent copy elsewhere.
            return entry.reason if found is Reason.NOT_FOUND else found
        if isinstance(found.kernel, Found):
            # It runs from memory, and is fetched again by the next process.
            self._counts.add(f"disk:{Reason.DISK_UNUSABLE}")
        return self._open(variant, found.kernel, found.source, trust)

    def _find_loaded(self, variant: Variant, trust: TrustPolicy) -> Resolved | None:
        """Return the body if this process has it and this loader has verified it by these keys."""
        body = find_body(variant.kernel_digest) if self._vouched.get(variant.kernel_digest) is trust else None
        if body is None or body.blueprint_digest != variant.blueprint_digest:
            return None
        return Resolved(body, "process")

    def _open(self, variant: Variant, kernel: OnDisk | Found, source: str, trust: TrustPolicy) -> Resolved | Reason:
        """Load a kernel that was verified just now into the process."""
        digest = kernel.manifest.digest
        try:
            forward, backward = kernel.libraries["forward"], kernel.libraries["backward"]
            trial = self._first_calls.trial(digest, forward.parent if isinstance(forward, Path) else None)
            body = open_body(kernel.manifest, forward=forward, backward=backward, cap=self._library_cap, trial=trial)
        except LibraryCapError:
            return Reason.LIBRARY_CAP
        except (BodyLoadError, KeyError):
            # The linker refuses it, or it is a kernel without a backward.
            self._counts.add(f"disk:{Reason.LOAD_FAILED}")
            return Reason.LOAD_FAILED
        self._vouched[digest] = trust
        return Resolved(body, source, build_seconds(variant.attestations))
