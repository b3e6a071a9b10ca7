"""What reaches a loader: indexes, caches, verdicts about the bytes in the store."""

from collections.abc import Iterable
from datetime import timedelta

from morph_assets.platform.connected import Connected
from morph_assets.progress import Progress
from morph_assets.usecases.add_trusted_key import add_trusted_key
from morph_assets.usecases.bound_redis import bound_redis
from morph_assets.usecases.change_trust import ChangedTrust
from morph_assets.usecases.drop_build_requests import drop_build_requests
from morph_assets.usecases.evict_cache import EvictionReport, evict_cache
from morph_assets.usecases.explain_load import LoadExplanation, explain_load
from morph_assets.usecases.find_build_requests import find_build_requests
from morph_assets.usecases.find_signature_problem import find_signature_problem
from morph_assets.usecases.find_stale_indexes import find_stale_indexes
from morph_assets.usecases.find_warming import find_warming
from morph_assets.usecases.measure_caches import CacheState, measure_caches
from morph_assets.usecases.plan_build_requests import AnsweredRequest
from morph_assets.usecases.plan_scrub import ScrubPlace, ScrubPlan, plan_scrub
from morph_assets.usecases.plan_warming import WarmingPlace, WarmingPlan
from morph_assets.usecases.publish_index import publish_index
from morph_assets.usecases.recall_kernels import recall_kernels
from morph_assets.usecases.relay_indexes import RelayedIndexes, relay_indexes
from morph_assets.usecases.revoke_trusted_key import revoke_trusted_key
from morph_assets.usecases.rotate_trusted_key import rotate_trusted_key
from morph_assets.usecases.scrub_artifacts import ScrubReport, scrub_artifacts
from morph_assets.usecases.tier_storage import StorageReport, tier_storage
from morph_assets.usecases.verify_kernel import verify_kernel
from morph_assets.usecases.warm_cache import WarmedCache, warm_cache
from morph_kernels.artifact.roles import Role
from morph_kernels.artifact.trust_policy import TrustPolicy
from morph_kernels.artifact.verify import Verdict
from morph_kernels.identity import KernelDigest


class Delivery(Connected):
    """Indexes, caches and the bytes in the store, as loaders meet them."""

    def publish_index(self, name: str) -> int:
        """Publish the next generation of a name's index."""
        return publish_index(self.connections, name)

    def relay_indexes(self) -> RelayedIndexes:
        """Publish every index that is behind the registry's log."""
        return relay_indexes(self.connections)

    def stale_indexes(self) -> tuple[str, ...]:
        """Return the names whose index a relay would publish anew."""
        return find_stale_indexes(self.connections)

    def why(self, ref: str) -> LoadExplanation:
        """Say what a loader of this host would get for a ref, and why."""
        return explain_load(self.connections, ref)

    def verify_kernel(self, what: str) -> Verdict:
        """Return whether this host may run the store's copy of a kernel, and if not, why."""
        return verify_kernel(self.connections, what)

    def signature_problem(self, what: str) -> str | None:
        """Return why nobody trusted vouches for the bytes in the store, or None."""
        return find_signature_problem(self.connections, what)

    def trust(self) -> TrustPolicy:
        """Return whose signatures are believed now."""
        return self.connections.trust()

    def add_trusted_key(self, role: Role, public_hex: str, *, valid_for: timedelta) -> ChangedTrust:
        """Trust a key of another host in a role."""
        return add_trusted_key(self.connections, role, public_hex, valid_for=valid_for)

    def rotate_trusted_key(self, role: Role, progress: Progress, *, overlap: timedelta | None = None) -> ChangedTrust:
        """Give a role its next key, and publish the indexes by it where it is the publisher's."""
        return rotate_trusted_key(self.connections, role, progress, overlap=overlap)

    def revoke_trusted_key(self, keyid: str, reason: str, progress: Progress) -> ChangedTrust:
        """Take a key out now, for good."""
        return revoke_trusted_key(self.connections, keyid, reason, progress)

    def cache_state(self) -> CacheState:
        """Return what each tier holds, against what it may hold."""
        return measure_caches(self.connections)

    def evict_cache(self, tier: str, *, budget_bytes: int | None = None, dry_run: bool = False) -> EvictionReport:
        """Bring this host's disk or Redis within its budget."""
        return evict_cache(self.connections, tier, budget_bytes=budget_bytes, dry_run=dry_run)

    def bound_redis(self) -> tuple[KernelDigest, ...]:
        """Tell Redis how much it may hold and what it may not drop; return what went for it."""
        return bound_redis(self.connections)

    def warm_cache(self, refs: Iterable[str] = (), *, digests: Iterable[KernelDigest] = ()) -> WarmedCache:
        """Put the published kernels of each ref and those with these digests, and their indexes, into Redis."""
        return warm_cache(self.connections, refs, digests=digests)

    def plan_warming(self, place: WarmingPlace) -> WarmingPlan:
        """Return what running jobs and new production releases need that Redis does not hold."""
        return find_warming(self.connections, place)

    def build_requests(self) -> tuple[AnsweredRequest, ...]:
        """Return what loaders asked for, each with its answer."""
        return find_build_requests(self.connections)

    def drop_build_requests(self, answered: tuple[AnsweredRequest, ...]) -> int:
        """Forget the requests of which nothing more will come; return how many."""
        return drop_build_requests(self.connections, answered)

    def tier_storage(self, *, dry_run: bool = False) -> StorageReport:
        """Bring each kernel to the storage tier where it belongs, or only say which that is."""
        return tier_storage(self.connections, dry_run=dry_run)

    def recall_kernels(self, digests: Iterable[KernelDigest]) -> tuple[KernelDigest, ...]:
        """Bring cold kernels back to where loaders read."""
        return recall_kernels(self.connections, digests)

    def scrub_artifacts(
        self, *, after: KernelDigest | None = None, limit: int = 50, bytes_per_s: int | None = None
    ) -> ScrubReport:
        """Read the next stored kernels back, tier by tier, no faster than the rate, and mend what is damaged."""
        return scrub_artifacts(self.connections, after=after, limit=limit, bytes_per_s=bytes_per_s)

    def plan_scrub(self, place: ScrubPlace, *, limit: int) -> ScrubPlan:
        """Return which kernels the next scrub should read, and what scrubs have given up since the place."""
        return plan_scrub(self.connections, place, limit=limit)
